"""`asmg worker`."""

from __future__ import annotations

import argparse
import sys

from stream_app.cli.options import Commands, all_settings, command


def add(commands: Commands) -> None:
    """Add the command."""
    worker = command(
        commands,
        "worker",
        run,
        "collect interactions, cut periods, train and publish, until SIGTERM",
        "It supervises its child processes collect, window and trainer. Logs go to stderr, one event a line.",
    )
    worker.add_argument("--child", choices=("collect", "window", "trainer"), help=argparse.SUPPRESS)
    worker.add_argument("--index", type=int, default=0, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    """The supervisor, or one of its children."""
    from stream_app.learning import check_device
    from stream_app.live.worker import run_child, run_worker
    from stream_app.telemetry import configure

    settings = all_settings(arguments)
    configure(settings.log, arguments.child or "worker")
    if arguments.child:
        run_child(settings.worker(), arguments.child, arguments.index)
    else:
        check_device(settings.learning)
        run_worker(settings.worker(), child_command(arguments))


def child_command(arguments: argparse.Namespace) -> list[str]:
    """The same program with the same options; a child reads the settings for itself."""
    command_line = [sys.executable, "-m", "stream_app.cli", "worker"]
    if arguments.config is not None:
        command_line += ["--config", str(arguments.config)]
    for pair in (*arguments.pairs_before, *arguments.pairs):
        command_line += ["--set", pair]
    return command_line + ["--debug"] * arguments.debug
