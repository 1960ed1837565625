"""1 % malformed messages of 14 kinds among yelp2019's, in msgpack and in JSON, through a real broker.

1. Each is on the dead-letter topic, once, with the right reason and field.
2. Every version's content is that of a replay of the good ones alone.
3. With a larger `records.max_bytes`, `asmg dead-letters redrive` sends the 2 MB messages again and nothing else; run
   twice, each has entered exactly one period, and a version is trained on them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from kafka import KafkaProducer

from benchmarks.local_broker import LocalBroker
from benchmarks.machine import recordings
from benchmarks.malformed import KINDS, encoded, good, malformed
from benchmarks.prove.kafka_equals_replay import LIMIT, SETTINGS, asmg, command
from models.randomness import rng

sys.path.insert(0, str(Path(__file__).parents[1]))
from plain_client import read_directory, read_topic, unpack
from plain_rows import records, taken

ROWS, PERIODS, PRETRAIN, PARTITIONS = 100_000, 20, 5, 4
COUNT = ROWS // PERIODS
SHARE = 0.01
LARGE = 20
"""Messages of 2 MB: all of them would be half a gigabyte."""
REASONS = {
    "not a map": "not-a-map",
    "missing field": "missing-field item_id",
    "wrong type": "wrong-type item_id",
    "NaN label": "out-of-range label",
    "id beyond 64 bits": "out-of-range user_id",
    "one year ahead": "clock-skew timestamp",
    "2 MB value": "too-large",
    "empty": "empty",
    "truncated": "undecodable",
    "not the format": "not-a-map",
    "wrong encoding": "wrong-encoding",
    "null": "not-a-map",
    "deep nesting": "too-deep",
    "duplicate keys": "duplicate-key user_id",
}
IN_JSON = {"NaN label": "undecodable", "not the format": "undecodable"}
Place = tuple[int, int]
Row = tuple[int, int, int, int]


def run() -> dict[str, Any]:
    """Both formats, each on a broker of its own."""
    found = {written: _run(written) for written in ("msgpack", "json")}
    bounds = {f"{written}: {text}": met for written, one in found.items() for text, met in one.pop("bounds").items()}
    return {**found, "bounds": bounds}


def _run(written: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name, "broker")) as broker:
        folder, bootstrap = Path(name), broker.bootstrap
        recording = folder / "good.parquet"
        parquet.write_table(parquet.read_table(recordings() / "yelp2019.parquet").slice(0, ROWS), recording)
        text = SETTINGS.format(folder=folder, bootstrap=bootstrap, count=COUNT, pretrain=PRETRAIN)
        text = f'{text}passes = 2\n[records]\nformat = "{written}"\n'
        config = folder / "asmg.toml"
        config.write_text(text)
        asmg(config, "replay", str(recording), "--out", str(folder / "replay"))
        asmg(config, "topics", "create")
        allow_large(config)
        rows = rows_of(recording)
        kinds = send(bootstrap, written, rows)
        with worker(config, folder):
            follow(config, PERIODS - PRETRAIN + 1)
        reasons = wrong_reasons(config, kinds, written)
        equal = equal_content(bootstrap, folder)
        config.write_text(f"{text}max_bytes = 3_000_000\n")
        trained = redriven(config, bootstrap, folder, written, rows[-1])
    return {
        "good": len(rows),
        "malformed": dict(Counter(kinds.values())),
        "wrong_reasons": reasons,
        "equal_content": equal,
        **trained,
        "bounds": {
            "every malformed message is a dead letter with the right reason": not reasons,
            "content as if they had never been sent": equal == PERIODS - PRETRAIN + 1,
            "redriven messages enter exactly one period": trained["redriven"] == trained["rows_of_them"] == LARGE,
            "a version is trained on them": trained["last_period_rows"] == COUNT,
        },
    }


def allow_large(config: Path) -> None:
    """The interactions topic takes messages of 2 MB and more, as a company's may."""
    from kafka import KafkaAdminClient
    from kafka.admin import ConfigResource, ConfigResourceType

    bootstrap = next(line.split('"')[1] for line in config.read_text().splitlines() if line.startswith("bootstrap"))
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "interactions", {"max.message.bytes": str(4 << 20)})])
    admin.close()


def rows_of(recording: Path) -> list[Row]:
    """Users, items, seconds and labels, in order of time."""
    table = parquet.read_table(recording, columns=["user_id", "item_id", "timestamp", "label"])
    columns = (table[name].to_pylist() for name in table.column_names)
    return [(user, item, when, int(label)) for user, item, when, label in zip(*columns, strict=True)]


def send(bootstrap: str, written: str, rows: Sequence[Row]) -> dict[Place, str]:
    """All rows, a malformed message behind one in a hundred, and END marks; where each malformed one lies."""
    draw = rng(0, 0, f"malformed {written}")
    bad = set(draw.choice(len(rows), round(SHARE * len(rows)), replace=False).tolist())
    large, usual = LARGE, [kind for kind in KINDS if kind != "2 MB value"]
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, max_request_size=4 << 20)
    sent = []
    for number, (user, item, when, label) in enumerate(rows):
        message, partition = good(user, item, when, label), user % PARTITIONS
        producer.send("interactions", encoded(message, written), partition=partition)
        if number in bad:
            kind = "2 MB value" if large else usual[len(sent) % len(usual)]
            large -= kind == "2 MB value"
            seconds = int(time.time()) if kind == "one year ahead" else when
            value = malformed(kind, written, {**message, "timestamp": seconds})
            sent.append((producer.send("interactions", value, partition=partition), kind))
    producer.flush(timeout=120)
    end(bootstrap, written)
    producer.close()
    return {(future.get(60).partition, future.get(60).offset): kind for future, kind in sent}


def end(bootstrap: str, written: str) -> None:
    """Nothing more comes on any partition."""
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for partition in range(PARTITIONS):
        producer.send("interactions", encoded({"watermark": "end"}, written), partition=partition)
    producer.flush(timeout=60)
    producer.close()


@contextmanager
def worker(config: Path, folder: Path) -> Iterator[None]:
    """A worker for as long as the context lasts."""
    with (folder / "worker.log").open("a") as log:
        process = subprocess.Popen(command(config, "worker"), stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def follow(config: Path, versions: int) -> None:
    """Returns once that version serves."""
    subprocess.run(
        command(config, "subscribe", "--until", str(versions)), check=True, timeout=LIMIT, stdout=subprocess.DEVNULL
    )


def wrong_reasons(config: Path, kinds: dict[Place, str], written: str) -> list[str]:
    """Malformed messages whose dead letter is not there, there more than once, or says something else."""
    expected = REASONS | (IN_JSON if written == "json" else {})
    listed = Counter[tuple[Place, str]]()
    for letter in _json_lines(config, "dead-letters", "list", "--limit", "0", "--json"):
        _, partition, offset = letter["origin"].split("/")
        listed[(int(partition), int(offset)), f"{letter['reason']} {letter['field']}".strip()] += 1
    wanted = Counter({(place, expected[kind]): 1 for place, kind in kinds.items()})
    return [f"{place} {reason}" for place, reason in ((listed - wanted) + (wanted - listed))]


def equal_content(bootstrap: str, folder: Path) -> int:
    """Versions on the topic whose content bytes are those of the replay."""
    manifests, _ = read_topic(bootstrap, "asmg-models")
    replayed = read_directory(folder / "replay" / "versions")
    return sum(unpack(value)["content"] == unpack(replayed[n])["content"] for n, value in manifests.items())


def redriven(config: Path, bootstrap: str, folder: Path, written: str, last: Row) -> dict[str, int]:
    """Redrive twice, fill one more period, and count where the messages went."""
    asmg(config, "dead-letters", "redrive")
    asmg(config, "dead-letters", "redrive")
    again = {
        (record.partition, record.offset)
        for record in records(bootstrap, "interactions")
        if any(name == "asmg-redriven" for name, _ in record.headers)
    }
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    user, item, when, label = last
    for number in range(COUNT):
        value = encoded(good(user, item, when + 120 + number, label), written)
        producer.send("interactions", value, partition=number % PARTITIONS)
    producer.flush(timeout=60)
    producer.close()
    end(bootstrap, written)
    with worker(config, folder):
        follow(config, PERIODS - PRETRAIN + 2)
    rows = taken(bootstrap, "asmg-segments")
    entered = Counter((partition, int(offset)) for partition, part in rows.items() for offset in part["offset"])
    manifests, _ = read_topic(bootstrap, "asmg-models")
    content = unpack(unpack(manifests[max(manifests)])["content"])
    return {
        "redriven": len(again),
        "rows_of_them": sum(entered[place] for place in again),
        "last_period_rows": content["rows"]["count"],
    }


def _json_lines(config: Path, *arguments: str) -> Iterable[dict[str, Any]]:
    done = subprocess.run(command(config, *arguments), check=True, stdout=subprocess.PIPE, text=True)
    return map(json.loads, done.stdout.splitlines())
