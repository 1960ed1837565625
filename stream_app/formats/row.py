"""The shape of one message: a msgspec struct made from the record settings, with every limit in its types.

A message that decodes into the struct is valid but for what types cannot say (label 0 or 1, clock skew, UTF-8 length
of a string); what fails to decode says why. Measured: limits in the types cost 0.03 us a message, and decoding one
message at a time is as fast as joining them, which would let a broken one shift its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import GenericAlias
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stream_app.events.field_path import header, steps
from stream_app.events.record import RecordSettings
from stream_app.formats.categories import CATEGORIES, CATEGORY_BYTES
from stream_app.formats.event_time import ISO, Zoned, largest

ID_BYTES = 1024
"""Longest string id, in UTF-8 bytes."""

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, Meta(min_length=1, max_length=ID_BYTES)]
Label = Annotated[float, Meta(ge=0, le=1)]
Category = Annotated[str, Meta(min_length=1, max_length=CATEGORY_BYTES)]
Categories = Annotated[tuple[Category, ...], Meta(max_length=CATEGORIES)]
Rating = Annotated[float, Meta(ge=-3.4e38, le=3.4e38)]

Read = Callable[[Sequence[Any]], list[Any]]
"""From rows to what stands in one field of each; UNSET where that is missing."""


@dataclass(frozen=True)
class Leaf:
    """A field that is read: its name in the struct, its type, and whether a message must have it."""

    name: str
    kind: Any
    required: bool


Tree = dict[str, Any]
"""Key -> Leaf or Tree: how the fields that are read lie in a message."""


def leaves(settings: RecordSettings) -> dict[str, Leaf]:
    """Path -> what may stand there, of every field that the settings read, those in headers included.

    Fields that are only compared with values may hold anything or be missing.
    """
    ids = {"int": Int64, "string": Text}
    kinds: dict[str, Any] = {
        "user": ids[settings.user_ids],
        "item": ids[settings.item_ids],
        "time": time_kind(settings.time_unit),
        "rating": Rating,
        "label": Label,
        "categories": Category | Categories,
    }
    optional = ["categories"] + ["time"] * (settings.time_from == "field-or-kafka")
    found: dict[str, Leaf] = {}
    for part, path in settings.fields().items():
        kind = kinds[part] | None if part in optional else kinds[part]
        if settings.batched and header(path) is None:
            kind = GenericAlias(list, (kind,)) | None if part in optional else GenericAlias(list, (kind,))
        found[path] = Leaf(part, kind, part not in optional)
    for number, path in enumerate(dict.fromkeys(path for _, path in settings.conditions())):
        found.setdefault(path, Leaf(f"compared{number}", Any, False))
    return found


def time_kind(unit: str) -> Any:
    """What an event time in `unit` may be."""
    if unit == ISO:
        return Zoned
    limit = largest(unit)
    return Annotated[int, Meta(ge=-limit, le=limit)] | Annotated[float, Meta(ge=-float(limit), le=float(limit))]


def tree_of(leaves: Mapping[str, Leaf]) -> Tree:
    """How fields at these paths lie in a message."""
    top: Tree = {}
    for path, leaf in leaves.items():
        *above, last = steps(path)
        place = top
        for key in above:
            place = place.setdefault(key, {})
        place[last] = leaf
    return top


def required(below: Leaf | Tree) -> bool:
    """Whether every interaction has something there."""
    return below.required if isinstance(below, Leaf) else any(required(inner) for inner in below.values())


def struct(tree: Tree) -> type[Any]:
    """The type of a message; a leaf is found under its name, what lies between under `in0`, `in1`, ..."""
    fields: list[Any] = []
    names: dict[str, str] = {}
    for number, (key, below) in enumerate(tree.items()):
        name, kind = (below.name, below.kind) if isinstance(below, Leaf) else (f"in{number}", struct(below))
        names[name] = key
        if required(below):
            fields.append((name, kind))
        else:
            fields.append((name, kind if kind is Any else kind | None | UnsetType, UNSET))
    fields.sort(key=len)  # fields with a default come last
    return msgspec.defstruct("Row", fields, rename=names, frozen=True, gc=False)


def reads(tree: Tree, above: tuple[str, ...] = ()) -> Iterable[tuple[str, Read]]:
    """(name in the struct, how to read it from rows of `struct(tree)`) of every leaf, and of what lies between."""
    for number, below in enumerate(tree.values()):
        name = below.name if isinstance(below, Leaf) else f"in{number}"
        if above and not required(below):
            yield ".".join((*above, name)), _where_there_is_one((*above, name))
        else:
            yield ".".join((*above, name)), _of_each(".".join(above), name)
        if not isinstance(below, Leaf):
            yield from reads(below, (*above, name))


_PLAIN: dict[str, Read] = {  # a third faster than by name
    "user": lambda rows: [row.user for row in rows],
    "item": lambda rows: [row.item for row in rows],
    "time": lambda rows: [row.time for row in rows],
    "label": lambda rows: [row.label for row in rows],
}


def _of_each(above: str, name: str) -> Read:
    read = _PLAIN.get(name) or _by_name(attrgetter(name))
    if not above:
        return read
    inner = _by_name(attrgetter(above))
    return lambda rows: read(inner(rows))


def _by_name(get: Callable[[Any], Any]) -> Read:
    return lambda rows: [get(row) for row in rows]


def _where_there_is_one(names: tuple[str, ...]) -> Read:
    """What lies between may be missing or null."""

    def one(row: Any) -> Any:
        for name in names:
            row = getattr(row, name, UNSET)
        return row

    return lambda rows: [one(row) for row in rows]
