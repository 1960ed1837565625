"""Accounts for every row between the interactions topic and the update periods; imports nothing of asmg-stream.

A row is known by its source partition and offset. What the interactions topic holds is decoded here, what the segments
topic holds is cut by offset here, and both must be the same rows: none lost, none twice. Which of them are in which
equal-count period is worked out here too, so that it can be compared with what a manifest says.
For messages of one interaction each, with int64 ids, times in whole seconds and labels 0 or 1, in msgpack.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import msgpack
import numpy as np
from kafka import KafkaConsumer, TopicPartition

FORMATS = (1, 2)
"""Of the records on the segments topic."""

LOWEST = -(2**63)
ROW = np.dtype([("offset", "<i8"), ("user", "<i8"), ("item", "<i8"), ("time", "<i8"), ("label", "<f4")])
"""time: microseconds."""

Rows = dict[int, np.ndarray[Any, Any]]
"""By source partition, in the order of their offsets."""


def fail(problem: str) -> NoReturn:
    """Say what differs and end."""
    print(f"FAILED: {problem}", file=sys.stderr)
    sys.exit(1)


def records(bootstrap: str, topic: str) -> Iterator[Any]:
    """All records of a topic that committed readers see now, partition by partition in the order of their offsets."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    for number in sorted(consumer.partitions_for_topic(topic) or fail(f"there is no topic {topic}")):
        partition = TopicPartition(topic, number)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        while consumer.position(partition) < end:
            yield from consumer.poll(timeout_ms=1000).get(partition, ())
    consumer.close()


def interaction(value: bytes) -> tuple[int, int, int, float] | None:
    """(user, item, microseconds, label), None for what is no valid interaction."""
    try:
        row = msgpack.unpackb(value)
    except (ValueError, msgpack.UnpackException):
        return None
    if not isinstance(row, dict):
        return None
    user, item, time, label = (row.get(name) for name in ("user_id", "item_id", "timestamp", "label"))
    valid = type(user) is type(item) is type(time) is int and type(label) in (int, float) and label in (0, 1)
    return (user, item, time * 1_000_000, label) if valid else None


def is_watermark(value: bytes) -> bool:
    """Whether a message is a producer's watermark record."""
    try:
        packed = msgpack.unpackb(value)
    except (ValueError, msgpack.UnpackException):
        return False
    return isinstance(packed, dict) and packed.keys() == {"watermark"}


def sent(bootstrap: str, topic: str) -> tuple[Rows, set[str]]:
    """The valid interactions on their topic, and the places ("topic/partition/offset") of what is none."""
    rows: dict[int, list[tuple[int, int, int, int, float]]] = {}
    refused = set()
    for record in records(bootstrap, topic):
        if record.value is None:
            continue
        if (row := interaction(record.value)) is not None:
            rows.setdefault(record.partition, []).append((record.offset, *row))
        elif not is_watermark(record.value):
            refused.add(f"{topic}/{record.partition}/{record.offset}")
    return {partition: np.array(found, ROW) for partition, found in rows.items()}, refused


def taken(bootstrap: str, topic: str) -> Rows:
    """The rows of all segments: what repeats is cut by offset, a hole between two segments is a failure."""
    parts: dict[int, list[np.ndarray[Any, Any]]] = {}
    ends: dict[int, int] = {}
    for record in records(bootstrap, topic):
        packed = msgpack.unpackb(record.value)
        if packed["format"] not in FORMATS:
            fail(f"{topic} offset {record.offset}: a record of format {packed['format']}")
        if packed["kind"] != "segment":
            continue
        partition, first = packed["partition"], packed["first"]
        known = ends.get(partition, first)
        if first > known:
            fail(f"{topic} offset {record.offset}: partition {partition} goes on at {first} after {known}")
        part = columns(packed)
        parts.setdefault(partition, []).append(part[part["offset"] >= known])
        ends[partition] = max(known, packed["next"])
    return {partition: np.concatenate(found) for partition, found in parts.items()}


def columns(packed: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The rows of one segment."""
    names = {"offsets": "offset", "users": "user", "items": "item", "times": "time", "labels": "label"}
    rows = np.empty(len(packed["offsets"]) // 8, ROW)
    for column, name in names.items():
        rows[name] = np.frombuffer(packed[column], ROW[name])
    return rows


@dataclass(frozen=True)
class Account:
    """periods: (rows, SHA-256) of each full period, the first is number 1; open: rows in none; late: rows moved."""

    periods: list[tuple[int, str]]
    rows: int
    open: int
    late: int
    refused: int


def account(bootstrap: str, interactions: str, segments: str, dead_letters: str, count: int, lateness: int) -> Account:
    """Every valid interaction once, every other message a dead letter; lateness in microseconds. Fails otherwise."""
    valid, refused = sent(bootstrap, interactions)
    rows = taken(bootstrap, segments)
    for partition in sorted(valid.keys() | rows.keys()):
        compare(partition, valid.get(partition, np.empty(0, ROW)), rows.get(partition, np.empty(0, ROW)))
    buried = {record.key.decode() for record in records(bootstrap, dead_letters)}
    if buried != refused:
        fail(f"dead letters lack {sorted(refused - buried)[:5]}, or should not hold {sorted(buried - refused)[:5]}")
    assigned = {partition: moved(part["time"], lateness) for partition, part in rows.items()}
    everything, when = (np.concatenate(list(parts.values())) for parts in (rows, assigned))
    order = np.lexsort((everything["label"], everything["item"], everything["user"], everything["time"], when))
    full = len(order) // count * count
    periods = [(count, digest(everything[order[first : first + count]])) for first in range(0, full, count)]
    late = int((when > everything["time"]).sum())
    return Account(periods, len(everything), len(everything) - full, late, len(refused))


def compare(partition: int, valid: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> None:
    """Fails, naming offsets, unless the segments hold exactly the valid rows of this partition."""
    lost, more = (
        np.setdiff1d(*pair)[:5].tolist()
        for pair in ((valid["offset"], rows["offset"]), (rows["offset"], valid["offset"]))
    )
    if lost or more or len(rows) != len(np.unique(rows["offset"])):
        fail(f"partition {partition}: {len(valid)} valid rows, {len(rows)} in segments; lost {lost}, too many {more}")
    if not np.array_equal(valid, rows):
        fail(f"partition {partition}: rows in segments are not those that were sent")


def moved(times: np.ndarray[Any, Any], lateness: int) -> np.ndarray[Any, Any]:
    """Where each row of a partition counts: its time, or, come later than `lateness` allows, the watermark."""
    largest = np.maximum.accumulate(times) - lateness
    return np.maximum(times, np.concatenate([times[:1], largest[:-1]]))


def digest(rows: np.ndarray[Any, Any]) -> str:
    """SHA-256 over the columns of a period in canonical order."""
    ordered = rows[np.lexsort((rows["label"], rows["item"], rows["user"], rows["time"]))]
    sha = hashlib.sha256()
    for name in ("user", "item", "time", "label"):
        sha.update(ordered[name].tobytes())
    return sha.hexdigest()
