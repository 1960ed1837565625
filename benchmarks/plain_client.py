"""Checks published model versions with plain clients and hashlib; imports nothing of asmg-stream.

    python benchmarks/plain_client.py --bootstrap 127.0.0.1:9092 --topic asmg-models --directory out/versions \
        --recording stream.parquet --count 10204

For every version: (1) each chunk on the topic has the digest and size its manifest names; (2) the content bytes on the
topic equal those in the directory of a replay; (3) the period's row count and row digest equal those computed here from
the recording. With --interactions, --segments and --dead-letters the rows are those on the topics, and each of them is
there once (plain_rows). Exits 1 and says what differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sized
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow.parquet as parquet
from plain_rows import account, fail, records


def read_topic(bootstrap: str, topic: str) -> tuple[dict[int, bytes], dict[tuple[int, int], list[bytes]]]:
    """Manifest messages by version, chunk values by (version, index), all that committed readers see."""
    manifests: dict[int, bytes] = {}
    chunks: dict[tuple[int, int], list[bytes]] = {}
    for record in records(bootstrap, topic):
        parts = record.key.decode().split("/")
        if record.value is None or len(parts) == 1:  # a tombstone, or what is told before the first version
            continue
        if parts[1] == "manifest":
            previous = manifests.setdefault(int(parts[0]), record.value)
            if unpack(previous)["content"] != unpack(record.value)["content"]:
                fail(f"version {parts[0]} is on the topic with two contents")
        else:
            chunks.setdefault((int(parts[0]), int(parts[1])), []).append(record.value)
    return manifests, chunks


def read_directory(directory: Path) -> dict[int, bytes]:
    """Manifest messages by version, from the directory of a replay."""
    return {int(path.parent.name): path.read_bytes() for path in sorted(directory.glob("*/manifest.msgpack"))}


def period_rows(recording: Path, count: int) -> list[tuple[int, str]]:
    """(rows, SHA-256) of each full equal-count period of a recording with int64 ids and times in seconds.

    A column "categories", lists of text, is part of the rows where there is one.
    """
    table = parquet.read_table(recording)
    users, items, times = (table[name].to_numpy().astype("<i8") for name in ("user_id", "item_id", "timestamp"))
    labels = table["label"].to_numpy().astype("<f4")
    named = (
        [tuple(sorted(set(row))) for row in table["categories"].to_pylist()]
        if "categories" in table.column_names
        else []
    )
    ranks = {row: rank for rank, row in enumerate(sorted(set(named)))}
    order = np.lexsort(([ranks[row] for row in named] or labels, labels, items, users, times))
    result = []
    for start in range(0, len(order) - count + 1, count):
        rows = order[start : start + count]
        sha = hashlib.sha256()
        for column in (users[rows], items[rows], times[rows] * 1_000_000, labels[rows]):
            sha.update(column.tobytes())
        for row in [named[number] for number in rows] if named else []:
            sha.update(b"".join([number_bytes(row), *(number_bytes(text.encode()) + text.encode() for text in row)]))
        result.append((count, sha.hexdigest()))
    return result


def number_bytes(things: Sized) -> bytes:
    """How many there are, as a digest of rows has it."""
    return len(things).to_bytes(4, "little")


def unpack(value: bytes) -> Any:
    """A msgpack message as plain Python."""
    return msgpack.unpackb(value)


def check_chunks(version: int, content: dict[str, Any], chunks: dict[tuple[int, int], list[bytes]]) -> int:
    """Bytes of the version's chunks on the topic, every copy of each checked against its manifest."""
    total = 0
    for chunk in content["chunks"]:
        copies = chunks.get((version, chunk["index"]), [])
        if not copies:
            fail(f"version {version}: chunk {chunk['index']} is missing")
        for value in copies:
            if len(value) != chunk["size"] or hashlib.sha256(value).hexdigest() != chunk["digest"]:
                fail(f"version {version}: chunk {chunk['index']} is not what the manifest names")
        total += chunk["size"]
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True, help="interactions per period")
    for topic in ("interactions", "segments", "dead-letters"):
        parser.add_argument(f"--{topic}", metavar="TOPIC", help="count rows there too; give all three")
    parser.add_argument("--lateness", type=float, default=60.0, help="seconds, as in [periods]")
    arguments = parser.parse_args()
    manifests, chunks = read_topic(arguments.bootstrap, arguments.topic)
    replayed = read_directory(arguments.directory)
    rows, counted = period_rows(arguments.recording, arguments.count), {}
    if arguments.interactions:
        topics = (arguments.interactions, arguments.segments, arguments.dead_letters)
        found = account(arguments.bootstrap, *topics, arguments.count, round(arguments.lateness * 1_000_000))
        rows, counted = found.periods, asdict(found) | {"periods": len(found.periods)}
    if manifests.keys() != replayed.keys():
        fail(f"versions on the topic {sorted(manifests)} and in the directory {sorted(replayed)} differ")
    total = 0
    for version, message in manifests.items():
        content_bytes = unpack(message)["content"]
        if content_bytes != unpack(replayed[version])["content"]:
            fail(f"version {version}: content on the topic differs from the replay's")
        content = unpack(content_bytes)
        total += check_chunks(version, content, chunks)
        told = (content["rows"]["count"], content["rows"]["sha256"])
        if told != rows[content["period"]["number"] - 1]:
            fail(f"version {version}: rows of period {content['period']['number']} differ: {told}")
    print(json.dumps({"versions": len(manifests), "equal_content": len(manifests), "chunk_bytes": total} | counted))


if __name__ == "__main__":
    main()
