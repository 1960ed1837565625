"""`asmg versions verify`: is everything that is there what it says?"""

from __future__ import annotations

import argparse
import json
from typing import Any

from stream_app.cli.options import Commands, command, serving_settings
from stream_app.cli.tables import Row
from stream_app.cli.versions.places import add_places, place_of
from stream_app.errors import VersionsDamaged
from stream_app.versions.audit import ControlFinding, Finding, audited, audited_control
from stream_app.versions.signing import Keys


def add(actions: Commands) -> None:
    """Add the command."""
    verifying = command(
        actions,
        "verify",
        run,
        "compare every version that is there with what it says of itself",
        "Chunks and digests, parent, epoch, and the signature where subscriber.keys are set: a line each; the control "
        "record likewise. Exit code 3 when one is not what it says.",
    )
    verifying.add_argument("--json", action="store_true", help="as JSON")
    add_places(verifying)


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each version. Raises VersionsDamaged when one is not what it says."""
    settings = serving_settings(arguments)
    keys = None if arguments.state is not None else Keys.of(settings.subscriber.keys)  # a store signs nothing
    place = place_of(arguments, settings)
    stock = place.stock()
    findings, control = audited(stock, settings.model, keys), audited_control(stock, settings.model, keys)
    rows, said = [facts(finding) for finding in findings], None if control is None else control_facts(control)
    if arguments.json:
        print(json.dumps({"versions": rows, "control": said}))
    else:
        lines = [*map(line, rows), *([] if said is None else [control_line(said)])]
        print("\n".join(lines) or "none yet", flush=True)
    wrong = [f"version {finding.version}" for finding in findings if finding.problems]
    wrong += ["the control record"] if said and said["problems"] else []
    if wrong:
        raise VersionsDamaged(place.name, f"not what it says: {', '.join(wrong)}")


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


def control_facts(finding: ControlFinding) -> Row:
    """The same of the control record. pinned: number of the version, None when none is."""
    control = None if finding.record is None else finding.record.control
    pin = None if control is None else control.pin
    return {
        "serial": None if control is None else control.serial,
        "pinned": None if pin is None else pin.version,
        "digest": None if pin is None else pin.digest,
        "signature": finding.signature,
        "problems": list(finding.problems),
    }


def line(row: Row) -> str:
    """A version for people."""
    if row["problems"]:
        return f"version {row['version']}  WRONG  {'; '.join(row['problems'])}"
    return (
        f"version {row['version']}  sound  {row['digest'][:12]}  epoch {row['epoch']}  {_signed(row)}  "
        f"{row['chunks']} chunks  {row['bytes'] / 1e6:.1f} MB"
    )


def control_line(row: Row) -> str:
    """The control record for people."""
    if row["problems"]:
        return f"control  WRONG  {'; '.join(row['problems'])}"
    pinned = "nothing is pinned" if row["pinned"] is None else f"version {row['pinned']} is pinned"
    return f"control  sound  {pinned}  {_signed(row)}"


def _signed(row: Row) -> str:
    known = row["signature"] in ("unsigned", "signature not checked")
    return row["signature"] if known else f"signed by {row['signature']}"
