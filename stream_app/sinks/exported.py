"""A version as files for others: `model.safetensors` for any safetensors library, `manifest.json` for anybody."""

from __future__ import annotations

from pathlib import Path

import pydantic_core

from stream_app.errors import BadInput, on_disk
from stream_app.sinks.directory import TENSORS
from stream_app.sinks.durable import remove, sync_folder, write_synced
from stream_app.versions.manifest import Envelope, unpack_map
from stream_app.versions.model_version import ModelVersion

JSON = "manifest.json"


def write_export(out: Path, version: ModelVersion, envelope: Envelope) -> None:
    """Makes the directory `out`, complete or not at all.

    The JSON is {digest, content, envelope}, the last two with the keys of the manifest; a signature is in hex. Raises
    BadInput when `out` is there and not empty, DiskRefuses.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(out, "is there already", "name a directory that is not there yet: nothing is overwritten")
    manifest = {
        "digest": version.digest,
        "content": unpack_map(version.content_bytes),
        "envelope": envelope.model_dump(),
    }
    text = pydantic_core.to_json(manifest, indent=2, bytes_mode="hex", inf_nan_mode="null")
    aside = out.with_name(f".writing-{out.name}")
    with on_disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        remove(aside)
        aside.mkdir()
        write_synced(aside / TENSORS, (chunk for _, chunk, _ in version.chunks()))
        write_synced(aside / JSON, [text + b"\n"])
        sync_folder(aside)
        aside.rename(out)
        sync_folder(out.parent)
