"""A law, and how a broken one is told: which it is, what was seen, and what would be right.

    @Law
    def same_seed_same_bytes(trial: Trial) -> None:
        '''With the same seed, every period has the same bytes.'''
        must(first == second, "two runs with seed 0 differ in ...", "draw from models.randomness.rng(seed, ...) only")

The first line of the docstring is the promise. An exception of the code on trial breaks the law that it was held to.
"""

from __future__ import annotations

import json
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Generic, TypeVar

from models.own import said

_OURS = Path(__file__).resolve().parents[1]
_PARAMETERS = "__dataclass_params__"
_PACKAGES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class LawBroken(Exception):
    """What is on trial does not keep `law`: `seen` says what it did, `right` what would be right."""

    def __init__(self, law: str, seen: str, right: str) -> None:
        super().__init__(f"{law}: {seen}; right would be: {right}")
        self.law, self.seen, self.right = law, seen, right


class _Wrong(Exception):
    """What a law saw; it gets the law's name on its way out."""

    def __init__(self, seen: str, right: str) -> None:
        super().__init__(seen)
        self.seen, self.right = seen, right


def must(holds: bool, seen: str, right: str) -> None:
    """Inside a law: breaks it unless `holds`."""
    if not holds:
        raise _Wrong(seen, right)


@contextmanager
def during(what: str) -> Iterator[None]:
    """Inside a law: whatever breaks it within is told with what was going on."""
    try:
        yield
    except Exception as error:
        error.add_note(what)
        raise


def must_be_settings(value: object) -> None:
    """Inside a law: breaks it unless `value` is a frozen dataclass whose fields can be written down."""
    if not is_dataclass(value) or isinstance(value, type) or not getattr(value, _PARAMETERS).frozen:
        raise _Wrong(f"{type(value).__name__} is no frozen dataclass", "@dataclass(frozen=True) above the class")
    for field in fields(value):
        setting = getattr(value, field.name)
        try:
            json.dumps(setting)
        except (TypeError, ValueError) as error:
            must(False, f"its setting {field.name} cannot be written down: {error}", "numbers, texts, or lists of them")


OnTrial = TypeVar("OnTrial")


@dataclass(frozen=True)
class Law(Generic[OnTrial]):
    """A promise and the check that holds what is on trial to it. gpu: it can be checked only where there is a GPU."""

    check: Callable[[OnTrial], None]
    gpu: bool = False

    @classmethod
    def of_gpu(cls, check: Callable[[OnTrial], None]) -> Law[OnTrial]:
        """A law that can be checked only where there is a GPU."""
        return cls(check, gpu=True)

    @property
    def name(self) -> str:
        """Such as "same-seed-same-bytes"."""
        return self.check.__name__.replace("_", "-")

    @property
    def promise(self) -> str:
        """What is promised, in a line."""
        return (self.check.__doc__ or "").partition("\n")[0]

    def __call__(self, trial: OnTrial) -> None:
        """Raises LawBroken."""
        try:
            self.check(trial)
        except _Wrong as wrong:
            raise LawBroken(self.name, _circumstances(wrong) + wrong.seen, wrong.right) from None
        except Exception as error:  # whatever the code on trial does
            seen = f"{_circumstances(error)}{said(error)}{_place(error)}"
            raise LawBroken(self.name, seen, "no exception here") from error


def _circumstances(error: Exception) -> str:
    return "".join(f"{what}: " for what in getattr(error, "__notes__", ()))


def _place(error: Exception) -> str:
    """Where it comes from: the innermost line that is neither of `models` nor of a package, else the innermost."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_PACKAGES)]
    theirs = [frame for frame in frames if not Path(frame.filename).resolve().is_relative_to(_OURS)]
    if not (frames := theirs or frames):
        return ""
    return f", at {Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}"
