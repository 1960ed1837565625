"""`asmg replay FILE`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_app.cli.cut import add_cut, replay_settings
from stream_app.cli.options import Commands, command
from stream_app.cli.progress import progress

if TYPE_CHECKING:
    from stream_app.replay import PeriodResult

SETTINGS = ("pretrain", "negatives", "methods", "seed", "device")
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
    add_cut(added)
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


def run(arguments: argparse.Namespace) -> None:
    """Replay, a line per period, then the summary."""
    from stream_app.formats.recording import rows
    from stream_app.replay.driver import default_out, replay
    from stream_app.replay.forget import forget

    settings = replay_settings(arguments, SETTINGS)
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
