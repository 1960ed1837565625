"""`asmg check-method NAME`, `asmg check-model NAME`: does it keep the laws?"""

from __future__ import annotations

import argparse
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from rich.console import Console
from rich.text import Text

from stream_app.cli.options import Commands, command
from stream_app.errors import LawsBroken, SettingsError

if TYPE_CHECKING:
    from models.laws.law import Law, LawBroken
    from models.laws.trial import Leaves, Trial


def add(commands: Commands) -> None:
    """Add both commands."""
    for name, run, what in (
        ("check-method", check_method, "update method"),
        ("check-model", check_model, "base model"),
    ):
        added = command(
            commands,
            name,
            run,
            f"see whether somebody's own {what} keeps the laws of every {what}",
            "A line each; of a broken one, what was seen and what would be right. It takes seconds, on small streams "
            "made for it. Exit code 2 when a law is broken.",
        )
        added.add_argument("name", nargs="?", metavar="NAME", help="package.module:Class, or a built-in one's name")
        added.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="its settings, as in a settings file")
        added.add_argument("--only", metavar="LAW", action="append", help="check this law only; may be repeated")
        added.add_argument("--list", action="store_true", help="print the laws and what they promise")


def check_method(arguments: argparse.Namespace) -> None:
    """Hold an update method to its laws. Raises LawsBroken, SettingsError."""
    from models.laws import update_methods
    from models.laws.trial import Trial
    from models.update_methods import AnyUpdateMethod

    def trial(kept: Callable[[Leaves], Leaves]) -> Trial:
        return Trial(method=_made(arguments, "methods", "method", AnyUpdateMethod), kept=kept)

    _check(arguments, update_methods.LAWS, update_methods.BASIC, trial)


def check_model(arguments: argparse.Namespace) -> None:
    """Hold a base model to its laws. Raises LawsBroken, SettingsError."""
    from models.base_models import AnyBaseModel
    from models.laws import base_models
    from models.laws.trial import Trial

    def trial(kept: Callable[[Leaves], Leaves]) -> Trial:
        return Trial(_made(arguments, "base_model", "name", AnyBaseModel), kept=kept)

    _check(arguments, base_models.LAWS, base_models.BASIC, trial)


def _check(
    arguments: argparse.Namespace,
    laws: Sequence[Law[Trial]],
    basic: Sequence[Law[Trial]],
    trial: Callable[[Callable[[Leaves], Leaves]], Trial],
) -> None:
    """Check one law after the other; those that rest on a basic law that is broken are left out."""
    from models.laws.law import LawBroken
    from models.learning import LearningSettings, prepare_process

    chosen = _chosen(laws, arguments.only)
    if arguments.list or arguments.name is None:
        for law in chosen:
            print(f"{law.name}: {law.promise}")
        return
    begun, broken, kept = time.perf_counter(), list[str](), 0
    with through_a_store() as through:
        on_trial = trial(through)
        prepare_process(LearningSettings(device="cpu"))
        for law in chosen:
            if reason := _left_out(law, basic, broken):
                _say("·", "dim", f"{law.name}: not checked, {reason}")
                continue
            try:
                law(on_trial)
                kept += 1
                _say("✓", "green", law.name)
            except LawBroken as error:
                broken.append(law.name)
                _tell(law, error, arguments.debug)
    print(f"{arguments.name}: {kept} laws kept, {len(broken)} broken, in {time.perf_counter() - begun:.0f} s")
    if broken:
        raise LawsBroken(arguments.name, broken)


def _chosen(laws: Sequence[Law[Trial]], only: Sequence[str] | None) -> list[Law[Trial]]:
    """Those that are asked for. Raises SettingsError for one that there is not."""
    names = [law.name for law in laws]
    for name in only or ():
        if name not in names:
            raise SettingsError("--only", f"there is no law {name}", "--list shows them")
    return [law for law in laws if not only or law.name in only]


def _left_out(law: Law[Trial], basic: Sequence[Law[Trial]], broken: Sequence[str]) -> str:
    """Why a law cannot be checked now; "" if it can."""
    import torch

    if law.gpu and not torch.cuda.is_available():
        return "torch sees no GPU here"
    first = [one.name for one in basic if one.name in broken]
    return f"it rests on {first[0]}" if first else ""


def _made(arguments: argparse.Namespace, section: str, key: str, built_in: Any) -> Any:
    """What a settings file would make of that name and these settings. Raises SettingsError."""
    from pydantic import TypeAdapter, ValidationError

    from stream_app.settings.own import is_own, with_own
    from stream_app.settings.sources import from_pairs
    from stream_app.versions.manifest import problem

    name, where = arguments.name, f"learning.{section}"
    if unclear := [one for one in arguments.settings if "=" not in one]:
        raise SettingsError(unclear[0], "is no setting of it", "write KEY=VALUE, such as width=8")
    settings = from_pairs(arguments.settings)
    kinds = {get_args(get_type_hints(kind)[key])[0]: kind for kind in get_args(built_in)}
    if not is_own(name) and name not in kinds:
        raise SettingsError(where, f"there is no {name}", f"there are {', '.join(kinds)}, and package.module:Class")
    try:
        if name in kinds:
            return TypeAdapter(kinds[name]).validate_python(settings)
        given = [{key: name, **settings}] if section == "methods" else {key: name, "settings": settings}
        made = with_own({section: given})[section]
        return made[0] if section == "methods" else made
    except ValidationError as error:
        raise SettingsError(where, problem(error)) from error
    except ValueError as error:
        raise SettingsError(where, str(error).removeprefix(f"{section}: ")) from error


@contextmanager
def through_a_store() -> Iterator[Callable[[Leaves], Leaves]]:
    """The way through a real store and back, in a directory that goes away."""
    from stream_app.store.states import Store

    with tempfile.TemporaryDirectory() as folder:
        store, periods = Store.open(Path(folder) / "store"), count(1)

        def through(leaves: Leaves) -> Leaves:
            store.commit(next(periods), leaves)
            return store.state() or {}

        try:
            yield through
        finally:
            store.close()


def _tell(law: Law[Trial], broken: LawBroken, debug: bool) -> None:
    _say("✗", "bold red", f"{law.name}: {law.promise}")
    _say(" ", "", f"  seen:  {broken.seen}")
    _say(" ", "", f"  right: {broken.right}")
    if debug and broken.__cause__ is not None:
        traceback.print_exception(broken.__cause__)


def _say(mark: str, style: str, text: str) -> None:
    Console(soft_wrap=True).print(Text.assemble((mark, style), " ", text))
