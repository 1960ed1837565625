"""The settings that decide the content of every version: they are fixed in a state directory when it is made.

What is not among them may change at any time: addresses, paths, field names, and what belongs to the machine class
(device, threads), which the manifest states on its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what would load torch into the processes that only ingest
    from models.learning import LearningSettings
    from stream_app.events.periods import AnyPeriods
    from stream_app.events.record import RecordSettings

_MACHINE_CLASS = ("device", "threads")
_ONLY_WHERE_ON = ("histories",)  # came later: where it is off, directories and versions are what they were before


def fixed_for_journal(records: RecordSettings, periods: AnyPeriods) -> dict[str, Any]:
    """What the rows and periods of a journal depend on, as JSON values by dotted name."""
    threshold = records.rating_threshold if records.rating else None
    own = {
        "records.user_ids": records.user_ids,
        "records.item_ids": records.item_ids,
        "records.rating_threshold": threshold,
        "records.categories": bool(records.categories),
    }
    return own | {f"periods.{name}": value for name, value in asdict(periods).items()}


def fixed_for_store(records: RecordSettings, periods: AnyPeriods, learning: LearningSettings) -> dict[str, Any]:
    """What the states and versions of a store depend on: the journal's settings and the learning, by dotted name."""
    own: dict[str, Any] = {}
    learning = learning.suited(bool(records.categories))
    for field in fields(learning):
        value = getattr(learning, field.name)
        if field.name == "methods":
            own["learning.methods"] = [method.method for method in value]
            for method in value:
                own |= _dotted(f"learning.methods.{method.method}", method, ("method",)) | _own_class(method)
        elif field.name in ("base_model", "selection"):
            own |= _dotted(f"learning.{field.name}", value, ())
        elif field.name not in _MACHINE_CLASS and (value or field.name not in _ONLY_WHERE_ON):
            own[f"learning.{field.name}"] = value
    return fixed_for_journal(records, periods) | own


def settings_digest(fixed: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON of fixed settings: keys in order, no spaces, ASCII. Named in manifests."""
    canonical = json.dumps(dict(fixed), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _own_class(method: Any) -> dict[str, str]:
    """Whose code a method is that does not come with us: another class of the same name is another method."""
    kind = type(method)
    ours = kind.__module__.startswith("models.update_methods.")
    return {} if ours else {f"learning.methods.{method.method}.class": f"{kind.__module__}:{kind.__qualname__}"}


def _dotted(name: str, value: Any, without: tuple[str, ...]) -> dict[str, Any]:
    return {
        f"{name}.{key}": list(v) if isinstance(v, tuple) else v
        for key, v in asdict(value).items()
        if key not in without
    }
