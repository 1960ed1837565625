"""`asmg replay FILE`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_app.cli.options import Commands, all_settings, command, positive
from stream_app.cli.progress import progress
from stream_app.errors import SettingsError
from stream_app.settings.durations import seconds

if TYPE_CHECKING:
    from stream_app.replay import PeriodResult, ReplaySettings

_FEW_LATE = 0.01  # of all rows: as many are late in a stream that is in order but for its stragglers


def add(commands: Commands) -> None:
    """Add the command."""
    added = command(
        commands,
        "replay",
        run,
        "run a recorded stream through the same pipeline, without Kafka",
        "Interrupted, the same command goes on where it was. Versions, report.json and metrics.png are in --out.",
    )
    added.set_defaults(interrupted="interrupted; what is done is kept, the same command goes on")
    added.add_argument("file", type=Path, metavar="FILE", help="recording: .parquet, .csv or .jsonl")
    cut = added.add_mutually_exclusive_group()
    cut.add_argument("--periods", type=positive, metavar="N", help="N periods of equal size over the recording")
    cut.add_argument("--period-length", type=duration, metavar="TIME", help="periods of event time: 1h, 1d ...")
    for name, kind, value, meaning in (
        ("pretrain", int, "N", "periods that pretraining takes (default: 10)"),
        ("negatives", int, "N", "negatives drawn per positive (default: 0, for explicit labels)"),
        (
            "methods",
            str,
            "LIST",
            "update methods, or auto to let the best of them serve (default: iu,row-statistics,auto)",
        ),
        ("seed", int, "N", "of all randomness (default: 0)"),
        ("device", str, "DEVICE", "auto, cpu or cuda (default: auto)"),
    ):
        added.add_argument(f"--{name}", type=kind, metavar=value, help=meaning)
    added.add_argument("--preset", metavar="NAME", help="paper: as the ASMG paper has it")
    added.add_argument("--out", type=Path, metavar="DIR", help="where everything goes (default: <recording>-replay)")
    added.add_argument("--new-run", action="store_true", help="forget what an earlier replay left in --out")


def duration(text: str) -> float:
    """Seconds, more than none."""
    try:
        length = float(seconds(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if length <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than no time")
    return length


def run(arguments: argparse.Namespace) -> None:
    """Replay, a line per period, then the summary."""
    from stream_app.formats.recording import rows
    from stream_app.replay.driver import default_out, replay
    from stream_app.replay.forget import forget

    settings = _settings(arguments)
    out = arguments.out or default_out(arguments.file)
    if arguments.new_run:
        rows(arguments.file)  # a recording that cannot be read must not cost the earlier run
        forget(out)
    results: list[PeriodResult] = []
    with progress(f"replay of {arguments.file.name}", arguments.periods) as bar:
        for result in replay(arguments.file, settings, out, stage=bar.doing):
            results.append(result)
            bar.reached(len(results))
            bar.say(line(result, f"{len(results)}/{settings.learning.pretrain}"))
    _conclude(out)


def _settings(arguments: argparse.Namespace) -> ReplaySettings:
    """Settings with the flags of this command; `--periods` needs a look at the recording."""
    from stream_app.events.periods import EventTime
    from stream_app.replay.recording import equal_periods

    names = ("pretrain", "negatives", "methods", "seed", "device")
    learning = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    flags: dict[str, Any] = {"learning": learning} if learning else {}
    if arguments.preset is not None:
        flags["preset"] = arguments.preset
    settings = all_settings(arguments, flags).replay()
    if arguments.periods is not None and arguments.periods <= settings.learning.pretrain:
        raise SettingsError(
            "learning.pretrain",
            f"pretraining takes {settings.learning.pretrain} periods, --periods {arguments.periods} leaves no other",
            "ask for more periods, or for a lower --pretrain (at least 2)",
        )
    lateness, late = settings.periods.lateness, settings.periods.late
    if arguments.period_length is not None:
        return replace(settings, periods=EventTime(length=arguments.period_length, lateness=lateness, late=late))
    if arguments.periods is not None:
        periods = equal_periods(arguments.file, settings.records, arguments.periods, lateness, late)
        return replace(settings, periods=periods)
    return settings


def line(result: PeriodResult, pretrained: str) -> str:
    """A period on one line; pretrained: how far pretraining is with it, for as long as it goes on."""
    head = f"period {result.period:>3}  {result.interactions:>8} interactions"
    if not result.candidates:
        return f"{head}  pretraining {'done' if result.version else pretrained}"
    scores = "  ".join(f"{_named(method, result)} {_metrics(values)}" for method, values in result.candidates.items())
    return f"{head}  {scores}  {sum(result.seconds.values()):.1f} s"


def _named(method: str, result: PeriodResult) -> str:
    """A method; of `auto` also which candidate it was."""
    return f"auto ({result.serving})" if method == "auto" else method


def _metrics(values: Any) -> str:
    auc, loss = values["auc"], values["log_loss"]
    return f"AUC {'-' if auc is None else f'{auc:.4f}'} log loss {'-' if loss is None else f'{loss:.4f}'}"


def _conclude(out: Path) -> None:
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for method, means in report["summary"].items():
        print(f"{method}: {_metrics(means)} (mean of the last {means['periods']} periods)")
    totals, pretrain = report["totals"], report["settings"]["learning"]["pretrain"]
    if not report["summary"]:
        nothing = "no score" if totals["versions"] else "no score and no version"
        print(f"{nothing}: pretraining takes the first {pretrain} periods, {totals['periods']} were full")
    print(
        f"{totals['periods']} periods, {totals['versions']} versions, {totals['interactions']} interactions; "
        f"{totals['open_rows']} in no full period, {_late_rows(totals)}, {totals['bad_rows']} bad rows"
        + (f" (see {out / 'dead-letters.jsonl'})" if totals["bad_rows"] or totals["dead_lettered_rows"] else "")
    )
    if warning := _late(totals, report["settings"]["records"]["time"]):
        print(f"asmg: {warning}", file=sys.stderr)
    print(f"report: {out / 'report.json'}  picture: {out / 'metrics.png'}")


def _late_rows(totals: Mapping[str, int]) -> str:
    """How many came late, and what became of them where they are in no period."""
    fates = (("dead_lettered_rows", "dead-lettered"), ("dropped_rows", "dropped"))
    said = "".join(f", {fate}" for name, fate in fates if totals[name])
    return f"{totals['late_rows']} late{said}"


def _late(totals: Mapping[str, int], time: str) -> str:
    """What to do about a recording that is not in order of time; "" for one that is, but for a few rows."""
    late, inside = totals["late_rows"], totals["interactions"] + totals["open_rows"]
    rows = inside + totals["dead_lettered_rows"] + totals["dropped_rows"]
    if late <= _FEW_LATE * rows:
        return ""
    return (
        f"{late} of {rows} rows came late: the recording is not in order of time; sort it by {time}, "
        "or raise periods.lateness"
    )
