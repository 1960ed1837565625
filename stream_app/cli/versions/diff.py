"""`asmg versions diff A B`: what became of one version in another."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from stream_app.cli.options import Commands, command, positive, serving_settings
from stream_app.cli.tables import Row, table
from stream_app.cli.versions.places import add_places, place_of, version_of
from stream_app.errors import VersionsDamaged
from stream_app.versions.difference import differing, growth, tensor_changes
from stream_app.versions.kept import Kept

_WIDEST = 60


def add(actions: Commands) -> None:
    """Add the command."""
    comparing = command(
        actions,
        "diff",
        run,
        "say what is different between two versions",
        "Settings, method, metrics, period, vocabularies, and of each tensor how many rows changed and by how much at "
        "most.",
    )
    comparing.add_argument("first", type=positive, metavar="A", help="a version's number")
    comparing.add_argument("second", type=positive, metavar="B", help="the one to compare it with")
    comparing.add_argument("--json", action="store_true", help="as JSON")
    add_places(comparing)


def run(arguments: argparse.Namespace) -> None:
    """Print the difference. Raises BadInput when a version is not there, VersionsDamaged."""
    place = place_of(arguments, serving_settings(arguments))
    first, second = version_of(place, arguments.first, arguments.second)
    try:
        found = difference(first, second)
    except ValueError as error:
        raise VersionsDamaged(place.name, f"versions {arguments.first}, {arguments.second}: {error}") from error
    print(json.dumps(found) if arguments.json else text(found))


def difference(first: Kept, second: Kept) -> dict[str, Any]:
    """All of it as plain values; of "identity", "settings", "machine" and "metrics" what is not the same, as pairs."""
    one, other = (_facts(kept) for kept in (first, second))
    grown = growth(first.version, second.version)
    changes = tensor_changes(first.version, second.version, grown)
    return {
        "versions": [first.version.number, second.version.number],
        **{part: differing(one[part], other[part]) for part in one},
        "vocabularies": {name: asdict(change) for name, change in grown.items()},
        "tensors": {name: asdict(change) for name, change in changes.items()},
    }


def _facts(kept: Kept) -> dict[str, Row]:
    content, envelope = kept.version.content, kept.manifest.envelope
    period = {f"period {key}": value for key, value in content.period.model_dump().items()}
    metrics = {
        f"{name} {metric}": value
        for name, scores in content.metrics.items()
        if scores is not None
        for metric, value in scores.model_dump().items()
    }
    return {
        "identity": {
            "digest": kept.version.digest,
            "run": envelope.run,
            "epoch": envelope.epoch,
            "format": content.format,
            **period,
            "bytes": content.size,
            "histories_bytes": content.histories_size,
        },
        "settings": dict(content.learning),
        "machine": dict(content.machine),
        "metrics": metrics,
        "decisions": {name: str(value) for name, value in content.decisions.items()},
    }


def text(found: dict[str, Any]) -> str:
    """The same for people."""
    first, second = (f"version {number}" for number in found["versions"])
    lines = []
    for part in ("identity", "settings", "machine", "metrics", "decisions"):
        rows = [{part: name, first: _cell(a), second: _cell(b)} for name, (a, b) in found[part].items()]
        lines += [table(rows, widest=_WIDEST) if rows else f"{part}: the same", ""]
    grown = [
        {"vocabulary": name, first: one["before"], second: one["after"], **_ids(one)}
        for name, one in found["vocabularies"].items()
    ]
    changes = [{"tensor": name, **_rows(one)} for name, one in found["tensors"].items()]
    return "\n".join([*lines, table(grown), "", table(changes, widest=_WIDEST)])


def _ids(one: Row) -> Row:
    return {"new": one["new"], "gone": one["gone"], "same rows": one["continues"]}


def _rows(one: Row) -> Row:
    if one["not_compared"]:
        return {"rows": "", "changed": one["not_compared"]}
    largest = one["largest"]
    return {
        "rows": one["rows"],
        "changed": one["changed"],
        "added": one["added"],
        "max |change|": None if largest is None else f"{largest:.3g}",
    }


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
