"""What the commands share that learn from a recording: how it is cut into periods, and their flags as settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stream_app.cli.options import Parser, all_settings, positive
from stream_app.errors import SettingsError
from stream_app.settings.durations import seconds

if TYPE_CHECKING:
    from stream_app.replay import ReplaySettings


def add_cut(parser: Parser) -> None:
    """Add `--periods` and `--period-length`."""
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument("--periods", type=positive, metavar="N", help="N periods of equal size over the recording")
    cut.add_argument("--period-length", type=duration, metavar="TIME", help="periods of event time: 1h, 1d ...")


def duration(text: str) -> float:
    """Seconds, more than none."""
    try:
        length = float(seconds(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if length <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than no time")
    return length


def replay_settings(arguments: argparse.Namespace, flags: Sequence[str], rows: int | None = None) -> ReplaySettings:
    """Settings with the flags of the command; `--periods` needs a look at the recording.

    flags: options that are settings of the learning, by name. rows: of a period, for who has looked before.
    """
    from stream_app.events.periods import EqualCount, EventTime
    from stream_app.replay.recording import equal_periods

    learning = {name: getattr(arguments, name) for name in flags if getattr(arguments, name) is not None}
    given: dict[str, Any] = {"learning": learning} if learning else {}
    if arguments.preset is not None:
        given["preset"] = arguments.preset
    settings = all_settings(arguments, given).replay()
    if arguments.periods is not None and arguments.periods <= settings.learning.pretrain:
        raise SettingsError(
            "learning.pretrain",
            f"pretraining takes {settings.learning.pretrain} periods, --periods {arguments.periods} leaves no other",
            "ask for more periods, or for a lower --pretrain (at least 2)",
        )
    lateness, late = settings.periods.lateness, settings.periods.late
    if arguments.period_length is not None:
        return replace(settings, periods=EventTime(length=arguments.period_length, lateness=lateness, late=late))
    if arguments.periods is not None and rows is not None:
        return replace(settings, periods=EqualCount(count=rows, lateness=lateness, late=late))
    if arguments.periods is not None:
        periods = equal_periods(arguments.file, settings.records, arguments.periods, lateness, late)
        return replace(settings, periods=periods)
    return settings
