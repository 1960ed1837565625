"""`asmg check-method`, `asmg check-model`: does it keep the laws?"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from stream_app.cli.options import Commands, command
from stream_app.errors import LawsBroken, SettingsError

if TYPE_CHECKING:
    from models.laws.law import Law
    from models.laws.trial import Leaves, Trial

Laws = Sequence["Law[Trial]"]

_NAME = 44
"""Columns that the name of a law takes."""


def add(commands: Commands) -> None:
    """Add both commands."""
    for kind, run in (("method", check_method), ("model", check_model)):
        whole = {"method": "update method", "model": "base model"}[kind]
        added = command(
            commands,
            f"check-{kind}",
            run,
            f"see whether {'an' if kind == 'method' else 'a'} {whole} keeps the laws that every {whole} keeps",
            "A line each; of a broken law what was seen and what would be right. Takes seconds, on small streams of its "
            "own. Exit code 2 when a law is broken.",
        )
        added.add_argument(
            "name", nargs="?", metavar="NAME", help="package.module:Class, or the name of a built-in one"
        )
        added.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings of it, as JSON or text")
        added.add_argument("--only", metavar="LAW", action="append", help="this law only; may be repeated")
        added.add_argument("--list", action="store_true", help="print the laws and what they promise")


def check_method(arguments: argparse.Namespace) -> None:
    """Hold an update method to its laws. Raises LawsBroken, SettingsError."""
    from models.laws import update_methods
    from models.laws.trial import Trial
    from models.update_methods import AnyUpdateMethod

    def trial(kept: Any) -> Trial:
        return Trial(method=_made(arguments, AnyUpdateMethod, "method"), kept=kept)

    _check(arguments, trial, update_methods.LAWS, update_methods.BASIC)
