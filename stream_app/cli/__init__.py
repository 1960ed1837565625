"""The command line `asmg`: one file per group of commands, each with `add(commands)` and what its commands run.

Packages that only a worker's install has are imported inside of the commands that need them.
"""

from stream_app.cli.main import main

__all__ = ["main"]
