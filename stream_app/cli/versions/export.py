"""`asmg versions export N --out DIR`: a version as files that others read."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream_app.cli.options import Commands, command, positive, serving_settings
from stream_app.cli.versions.places import add_places, place_of, version_of
from stream_app.sinks.exported import write_export


def add(actions: Commands) -> None:
    """Add the command."""
    exporting = command(
        actions,
        "export",
        run,
        "write one version as safetensors and JSON",
        "DIR/model.safetensors has the tensors, vocabularies among them; DIR/manifest.json everything else.",
    )
    exporting.add_argument("number", type=positive, metavar="N", help="which")
    exporting.add_argument("--out", type=Path, metavar="DIR", required=True, help="a directory that is not there yet")
    add_places(exporting)


def run(arguments: argparse.Namespace) -> None:
    """Write it. Raises BadInput (no such version; the directory is there), VersionsDamaged, DiskRefuses."""
    place = place_of(arguments, serving_settings(arguments))
    (kept,) = version_of(place, arguments.number)
    write_export(arguments.out, kept.version, kept.manifest.envelope)
    print(f"{arguments.out}: version {kept.version.number}, digest {kept.version.digest}")
