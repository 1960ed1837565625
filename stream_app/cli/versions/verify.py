"""`asmg versions verify`: is everything that is there what it says?"""

from __future__ import annotations

import argparse
import json
from typing import Any

from stream_app.cli.options import Commands, command, serving_settings
from stream_app.cli.tables import Row
from stream_app.cli.versions.places import add_places, place_of
from stream_app.errors import VersionsDamaged
from stream_app.versions.audit import Finding, audited
from stream_app.versions.signing import Keys


def add(actions: Commands) -> None:
    """Add the command."""
    verifying = command(
        actions,
        "verify",
        run,
        "compare every version that is there with what it says of itself",
        "Chunks and digests, parent, epoch, and the signature where subscriber.keys are set: a line each. Exit code 3 "
        "when one is not what it says.",
    )
    verifying.add_argument("--json", action="store_true", help="as JSON")
    add_places(verifying)


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each version. Raises VersionsDamaged when one is not what it says."""
    settings = serving_settings(arguments)
    keys = None if arguments.state is not None else Keys.of(settings.subscriber.keys)  # a store signs nothing
    place = place_of(arguments, settings)
    findings = audited(place.inventory(), settings.model, keys)
    rows = [facts(finding) for finding in findings]
    print(json.dumps(rows) if arguments.json else "\n".join(map(line, rows)) or "none yet", flush=True)
    wrong = [str(finding.version) for finding in findings if finding.problems]
    if wrong:
        raise VersionsDamaged(
            place.name, f"{len(wrong)} of {len(rows)} versions are not what they say: {', '.join(wrong)}"
        )


def facts(finding: Finding) -> Row:
    """What is known of a version, as plain values; None where its manifest cannot be read."""
    known: dict[str, Any] = dict.fromkeys(("digest", "run", "epoch", "bytes", "chunks", "parent"))
    if finding.manifest is not None:
        content, envelope = finding.manifest.content, finding.manifest.envelope
        known = {
            "digest": finding.manifest.digest,
            "run": envelope.run,
            "epoch": envelope.epoch,
            "bytes": content.size,
            "chunks": len(content.chunks),
            "parent": content.parent,
        }
    return {"version": finding.version, **known, "signature": finding.signature, "problems": list(finding.problems)}


def line(row: Row) -> str:
    """The same for people."""
    if row["problems"]:
        return f"version {row['version']}  WRONG  {'; '.join(row['problems'])}"
    signed = (
        row["signature"]
        if row["signature"] in ("unsigned", "signature not checked")
        else f"signed by {row['signature']}"
    )
    return (
        f"version {row['version']}  sound  {row['digest'][:12]}  epoch {row['epoch']}  {signed}  "
        f"{row['chunks']} chunks  {row['bytes'] / 1e6:.1f} MB"
    )
