"""`asmg worker`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from stream_app.cli.options import Commands, all_settings, command, flags_of, same_options

if TYPE_CHECKING:  # what would take a second to load before every --help
    from stream_app.live.worker_settings import WorkerSettings


def add(commands: Commands) -> None:
    """Add the command."""
    worker = command(
        commands,
        "worker",
        run,
        "collect interactions, cut periods, train and publish, until SIGTERM",
        "It supervises its child processes collect, window and trainer. Logs go to stderr, one event a line.",
    )
    worker.add_argument(
        "--new-run", action="store_true", help="put the state directory aside and begin anew; give it once"
    )
    worker.add_argument(
        "--until-end",
        action="store_true",
        help="end once every partition has ended (asmg produce --end) and all of it is trained and published",
    )
    worker.add_argument("--child", choices=("collect", "window", "trainer"), help=argparse.SUPPRESS)
    worker.add_argument("--index", type=int, default=0, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    """The supervisor, or one of its children; a process that has done so does not return."""
    if arguments.child in ("collect", "window"):
        _ingest(arguments)
    from stream_app.learning import check_device
    from stream_app.live.supervisor import leave
    from stream_app.live.until_end import what_stays
    from stream_app.live.worker import check_cluster, run_child, run_worker
    from stream_app.telemetry import configure

    settings = all_settings(arguments)
    configure(settings.log, arguments.child or "worker")
    if arguments.child:
        run_child(settings.worker(), arguments.child, arguments.index)
    check_device(settings.learning)
    if arguments.new_run:
        check_cluster(settings.worker())  # a worker that cannot start changes nothing
        _begin_anew(settings.worker())
    if run_worker(settings.worker(), child_command(arguments), arguments.until_end):
        print(what_stays(settings.worker()), flush=True)
    leave()


def _ingest(arguments: argparse.Namespace) -> NoReturn:
    """A child without the learning: it starts in a second and stays small."""
    from stream_app.live.worker import child_name, run_child
    from stream_app.settings.ingest import IngestSettings
    from stream_app.settings.load import load
    from stream_app.telemetry import configure

    settings = load(IngestSettings, flags_of(arguments))
    configure(settings.log, child_name(arguments.child, arguments.index))
    run_child(settings.worker(), arguments.child, arguments.index)


def _begin_anew(settings: WorkerSettings) -> None:
    from stream_app.live.cluster.beginning import begin_new_run

    run = begin_new_run(settings)
    aside = f"; the old state is in {run.aside}" if run.aside else ""
    print(f"new run {run.name} in {settings.state_directory}{aside}", flush=True)


def child_command(arguments: argparse.Namespace) -> list[str]:
    """The same program with the same options; a child reads the settings for itself."""
    return [sys.executable, "-m", "stream_app.cli", "worker", *same_options(arguments)]
