"""The records of a segments topic as a Parquet file: what `asmg record` writes, for replays and for data frames.

One row a thing, in the order of the records; `kind` says what it is:

| kind | what it is | columns it fills |
|---|---|---|
| interaction | one, of the segment before it | partition, offset, user_id, item_id, timestamp, label, categories |
| watermark | a producer's, of the segment before it | partition, offset, timestamp: nothing earlier follows |
| end | the same: nothing at all follows | partition, offset |
| segment | a run of a partition begins | partition, offset (first), next_offset, count (of its interactions) |
| partitions | how many there are | count, name (Kafka's id of the topic) |
| idle | a partition is at its end | partition, offset (its end) |
| run | a run begins | name |

So `kind = 'interaction'` selects what a data frame is after. Times are UTC, exact to the microsecond; kafka_timestamp
is that of the message on the topic that was recorded. The footer says under `asmg.recording` that it is such a file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from models.interactions import Interactions
from stream_app.errors import BadInput
from stream_app.events.record import Ids, RecordSettings
from stream_app.formats.recorded import reading

FORMAT = 1
METADATA = b"asmg.recording"
INTERACTION, WATERMARK, ENDED = "interaction", "watermark", "end"
SEGMENT, PARTITIONS, IDLE, RUN = "segment", "partitions", "idle", "run"
KINDS = (INTERACTION, WATERMARK, ENDED, SEGMENT, PARTITIONS, IDLE, RUN)
EVENT_TIME = pa.timestamp("us", "UTC")

_IDS = {"int": pa.int64(), "string": pa.string()}


@dataclass(frozen=True)
class About:
    """What the footer says. source: which kind of topic was recorded; topic: its name."""

    source: Literal["segments", "interactions"]
    topic: str
    user_ids: Ids
    item_ids: Ids
    categories: bool
    format: int = FORMAT

    @staticmethod
    def of(source: Literal["segments", "interactions"], topic: str, settings: RecordSettings) -> About:
        """A recording of that topic, made with these settings."""
        return About(source, topic, settings.user_ids, settings.item_ids, bool(settings.categories))

    def schema(self) -> pa.Schema:
        """The columns of the file."""
        columns: list[tuple[str, pa.DataType]] = [
            ("kind", pa.string()),
            ("partition", pa.int32()),
            ("offset", pa.int64()),
            ("user_id", _IDS[self.user_ids]),
            ("item_id", _IDS[self.item_ids]),
            ("timestamp", EVENT_TIME),
            ("label", pa.float32()),
            *([("categories", pa.list_(pa.string()))] if self.categories else []),
            ("kafka_timestamp", pa.timestamp("ms", "UTC")),
            ("next_offset", pa.int64()),
            ("count", pa.int64()),
            ("name", pa.string()),
        ]
        return pa.schema(columns, metadata={METADATA: json.dumps(asdict(self)).encode()})

    def problem(self, rows: Interactions) -> str:
        """Why these rows cannot be in the file, "" when they can."""
        for name, kind, ids in (("user", self.user_ids, rows.users), ("item", self.item_ids, rows.items)):
            if (ids.dtype == object) != (kind == "string"):
                return f"{name} ids are not of the kind that records.{name}_ids says ({kind})"
        if (rows.categories is not None) != self.categories:
            return f"records.categories says that there are {'some' if self.categories else 'no'} categories"
        return ""


def about(path: Path) -> About | None:
    """What the footer says; None when the file is no such recording. Raises BadInput (also: a later format)."""
    with reading(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    said = (schema.metadata or {}).get(METADATA)
    if said is None:
        return None
    try:
        packed: dict[str, Any] = json.loads(said)
        if packed["format"] != FORMAT:
            raise BadInput(path, f"is a recording of format {packed['format']!r}", f"this program reads {FORMAT}")
        found = About(**packed)
        if not schema.equals(found.schema()):
            raise ValueError("its columns are others")
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(path, f"says that it is a recording, but is none: {error}", "record it again") from error
    return found


def check(path: Path, found: About, settings: RecordSettings) -> None:
    """Returns when a recording fits the settings. Raises BadInput naming the one that it does not fit."""
    for name in ("user_ids", "item_ids"):
        there, wanted = getattr(found, name), getattr(settings, name)
        if there != wanted:
            raise BadInput(path, f"was recorded with records.{name} = {there!r}", f"the settings say {wanted!r}")
    if found.categories != bool(settings.categories):
        remedy = "name a field in records.categories" if found.categories else 'set records.categories = ""'
        raise BadInput(path, f"was recorded {'with' if found.categories else 'without'} categories", remedy)
