"""What holds on a models topic now: the newest version, and what an operator has said last; little is read for it."""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

from stream_app.broker import KafkaSettings
from stream_app.errors import VersionRejected
from stream_app.sinks.kafka_reader import KafkaReader, reached
from stream_app.sinks.near_end import Between, beginning, manifests
from stream_app.versions.control import ControlRecord
from stream_app.versions.messages import CONTROL_KEY, Manifest


class Standing(NamedTuple):
    """newest: None where no version is there, or its manifest is damaged. control: the record with the largest serial,
    whoever signed it; None where there is none that can be read."""

    newest: Manifest | None
    control: ControlRecord | None


def standing(kafka: KafkaSettings, topic: str, model: str) -> Standing:
    """As of what is committed now. Raises Unavailable, AccessDenied."""
    with closing(KafkaReader(kafka, topic)) as reader, reached(kafka, topic):
        first, end = reader.bounds()
        found = next(manifests(reader.between, first, end), None)
        return Standing(
            None if found is None else Manifest.readable(found.value or b""),
            control_of(reader.between, first, end, model),
        )


def control_of(between: Between, first: int, end: int, model: str) -> ControlRecord | None:
    """See `Standing.control`; for a log with offsets from `first` on, below `end`."""
    place, newest = beginning(between, first, end), None
    values = [] if place.control is None else [place.control[1]]
    for start, stop in place.ranges(wanted=False):
        values += [record.value for record in between(start, stop or end) if record.key == CONTROL_KEY]
    for value in values:
        try:
            record = ControlRecord.unpack(value or b"", model)
        except VersionRejected:
            continue
        newest = record if record.outranks(newest) else newest
    return newest
