"""`python -m stream_app.cli`, for where the command `asmg` is not on the path."""

import sys

from stream_app.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
