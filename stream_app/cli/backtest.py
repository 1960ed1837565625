"""`asmg backtest FILE`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.table import Table

from stream_app.cli.cut import add_cut, replay_settings
from stream_app.cli.options import Commands, command, positive, same_options
from stream_app.cli.progress import progress

if TYPE_CHECKING:
    from stream_app.backtest.study import Study

_FLAGS = ("pretrain", "negatives", "methods", "device")
_SEEDS = 3
_FIRST = ("auc", "log_loss", "auc_seen_items", "log_loss_seen_items", "recall", "ndcg")
_NARROWEST = 110


def add(commands: Commands) -> None:
    """Add the command."""
    added = command(
        commands,
        "backtest",
        run,
        "find out which update method is best for a recorded stream: methods x seeds, nothing is published",
        "Interrupted, the same command goes on where it was, and more seeds join those that are finished. report.html, "
        "report.json and periods.csv are in --out.",
    )
    added.set_defaults(interrupted="interrupted; what is done is kept, the same command goes on")
    added.add_argument("file", type=Path, metavar="FILE", help="recording: .parquet, .csv or .jsonl")
    added.add_argument(
        "--methods", metavar="LIST", help="update methods, all on the same samples and base model; iu is always one"
    )
    added.add_argument(
        "--seeds", type=seeds, default=_SEEDS, metavar="N", help=f"how many, or which: 0,1,2 (default: {_SEEDS})"
    )
    add_cut(added)
    for name, kind, value, meaning in (
        ("pretrain", int, "N", "periods that pretraining takes (default: 10)"),
        ("negatives", int, "N", "negatives drawn per positive (default: 0, for explicit labels)"),
        ("device", str, "DEVICE", "auto, cpu or cuda (default: auto)"),
        ("preset", str, "NAME", "paper: as the ASMG paper has it"),
        ("last", positive, "N", "scored periods at the end that means and gains are of (default: 7)"),
        ("ranking", positive, "K", "also recall and NDCG of the first K among sampled candidates"),
        ("truth", str, "COLUMN", "true probabilities, as asmg generate writes them (probability): adds the regret"),
        ("jobs", positive, "N", "seeds at the same time (default: one a core); 1 measures the cost undisturbed"),
        ("out", Path, "DIR", "where everything goes (default: <recording>-backtest)"),
    ):
        added.add_argument(f"--{name}", type=kind, metavar=value, help=meaning)
    added.add_argument("--new-run", action="store_true", help="forget what an earlier backtest left in --out")
    added.add_argument("--job", type=int, help=argparse.SUPPRESS)
    added.add_argument("--rows", type=int, help=argparse.SUPPRESS)


def seeds(text: str) -> int | tuple[int, ...]:
    """How many seeds, or which: "5", "0,1,2", "7," (the one seed 7)."""
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of seeds nor a list such as 0,1,2") from None
    if "," not in text:
        return positive(text)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} must name different seeds, each 0 or more")
    return numbers


def run(arguments: argparse.Namespace) -> None:
    """The jobs that are left, then the summary; or one job, for the parent of this process."""
    if arguments.job is not None:
        _job(arguments)
    from stream_app.backtest.driver import backtest
    from stream_app.backtest.forget import forget
    from stream_app.formats.recording import rows

    rows(arguments.file)  # a recording that cannot be read must not cost the earlier run
    study, joined = _study(arguments)
    if joined:
        print("iu joins the methods: gains are gains over it", flush=True)
    if arguments.new_run:
        forget(study.out)
    with progress(f"backtest of {arguments.file.name}", None) as bar:

        def told(done: int, steps: int, doing: str) -> None:
            bar.reached(done, steps or None)
            bar.doing(doing)

        report = backtest(study, _job_command(arguments, study), _at_once(arguments, study), told, bar.say)
    _conclude(report, study)


def _job(arguments: argparse.Namespace) -> NoReturn:
    from stream_app.live.supervisor import end_with_parent, leave

    end_with_parent()  # before what takes seconds to load
    from stream_app.backtest.job import run_seed
    from stream_app.backtest.jobs import telling

    tell = telling()
    run_seed(_study(arguments)[0], arguments.job, tell)
    leave()


def _study(arguments: argparse.Namespace) -> tuple[Study, bool]:
    """What is to be compared; whether `iu` had to join the methods."""
    from models.ranking import RankingSettings
    from models.update_methods.iu import Iu
    from stream_app.backtest.study import LAST, Study

    settings = replay_settings(arguments, _FLAGS, arguments.rows)
    learning, given = settings.learning, arguments.seeds
    joined = not any(isinstance(method, Iu) for method in learning.methods)
    if joined:  # to be compared with; auto still chooses among those that were named, as it would in a replay
        selection = replace(learning.selection, candidates=learning.candidates)
        learning = replace(learning, methods=(Iu(), *learning.methods), selection=selection)
        settings = replace(settings, learning=learning)
    seeds = tuple(range(learning.seed, learning.seed + given)) if isinstance(given, int) else given
    out = arguments.out or Path(f"{arguments.file.stem}-backtest")
    ranking = RankingSettings(k=arguments.ranking) if arguments.ranking else None
    return Study(arguments.file, settings, seeds, out, arguments.last or LAST, ranking, arguments.truth), joined


def _job_command(arguments: argparse.Namespace, study: Study) -> list[str]:
    """The same program with the same settings; a job reads them for itself, but does not count the rows again."""
    line = [sys.executable, "-m", "stream_app.cli", "backtest", str(arguments.file), "--out", str(study.out)]
    for name in (*_FLAGS, "preset", "periods", "period_length", "ranking"):
        if (value := getattr(arguments, name)) is not None:
            line.append(f"--{name.replace('_', '-')}={value}")
    if arguments.periods is not None:
        line.append(f"--rows={study.settings.periods.least}")
    return line + same_options(arguments)


def _at_once(arguments: argparse.Namespace, study: Study) -> int:
    return arguments.jobs or max(1, (os.cpu_count() or 1) // study.settings.learning.threads)


def _conclude(report: Mapping[str, Any], study: Study) -> None:
    from stream_app.backtest.html.numbers import Numbers
    from stream_app.backtest.html.verdicts import verdict
    from stream_app.backtest.study import PAGE, REPORT, TABLE

    wide = None if sys.stdout.isatty() else _NARROWEST
    Console(width=wide, highlight=False).print(_table(report))
    for method in report["methods"]:
        found = verdict(Numbers(report), method)
        print(f"{method}: {found.word}. {found.sentence}")
    print(f"Intervals: {report['interval']}.")
    print(f"report: {study.out / PAGE}  numbers: {study.out / REPORT}, {study.out / TABLE}")


def _table(report: Mapping[str, Any]) -> Table:
    """A line for each method and the metrics that people ask for first."""
    from stream_app.backtest.html.verdicts import NAMES, number, signed

    table = Table("method", "metric", box=None, pad_edge=False)
    for name in ("mean", "gain over iu", "95 % interval", "worst seed", "cost x iu"):
        table.add_column(name, justify="right")
    for method in report["methods"]:
        found = report["summary"][method]
        for row, metric in enumerate(name for name in _FIRST if name in found["metrics"]):
            gain = (found["gain"] or {}).get(metric)
            gained = ["", "", ""] if gain is None else [signed(gain["mean"]), _interval(gain), signed(gain["worst"])]
            cost = "" if row or found["times_iu"] is None else f"{found['times_iu']:.1f}"
            table.add_row("" if row else method, NAMES[metric], number(found["metrics"][metric]), *gained, cost)
    return table


def _interval(gain: Mapping[str, float | None]) -> str:
    from stream_app.backtest.html.verdicts import number, signed

    return number(None) if gain["low"] is None else f"{signed(gain['low'])} to {signed(gain['high'])}"
