"""`asmg`: parse, run, and answer every way of failing with one line on stderr and a documented exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from stream_app.cli import (
    backtest,
    check,
    config,
    dead_letters,
    generate,
    inspect,
    produce,
    record,
    replay,
    status,
    subscribe,
    topics,
    versions,
    worker,
)
from stream_app.cli.options import Parser, common_options
from stream_app.errors import AsmgError
from stream_app.telemetry import last_words

GROUPS = (
    worker,
    topics,
    status,
    subscribe,
    versions,
    inspect,
    dead_letters,
    record,
    replay,
    backtest,
    generate,
    check,
    produce,
    config,
)

EXIT_CODES = """exit codes:
  0    done
  1    an error nobody foresaw: please report it, with what --debug shows
  2    a setting, file or column is wrong: the message names it; a law is broken
  3    a person must act: going on would lose, repeat or corrupt something, or the cluster
       or the disk refuses us; the message names the remedy
  4    a broker or topic cannot be reached
  130  interrupted; a replay or backtest goes on with the same command"""

WORKER_PACKAGES = (
    "aiokafka",
    "faust",
    "matplotlib",
    "models",
    "msgspec",
    "prometheus_client",
    "pyarrow",
    "rocksdict",
    "torch",
)
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    given = parser().parse_args(arguments)
    _see_here()
    try:
        given.run(given)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        # Whoever read our output has seen enough (`asmg versions list | head`); Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"asmg: {getattr(given, 'interrupted', 'interrupted')}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if given.debug:
            traceback.print_exc()
        last_words(_one_line(error))
        return _exit_code(error)


def _see_here() -> None:
    """What settings name "package.module:..." may lie where the command is given, as for `python -m`."""
    if not sys.flags.safe_path and not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))  # last: no file that happens to lie here stands before an installed package


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="asmg",
        description="Keeps a recommender fresh: incremental updates from a Kafka interaction stream, published as "
        "verified model versions.",
        epilog=EXIT_CODES,
        parents=[common_options(top=True)],
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.add(commands)
    return top


def _one_line(error: Exception) -> str:
    if _is_missing_worker(error):
        return f"this command needs pip install 'asmg-stream[worker]' (there is no package {error.name})"  # type: ignore[attr-defined]
    text = " ".join(str(error).split())
    if isinstance(error, AsmgError):
        return text
    return f"unexpected {type(error).__name__}: {text} (--debug shows where)"


def _exit_code(error: Exception) -> int:
    if _is_missing_worker(error):
        return 2
    return error.exit_code if isinstance(error, AsmgError) else 1


def _is_missing_worker(error: Exception) -> bool:
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in WORKER_PACKAGES
