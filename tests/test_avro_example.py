"""The worked example of `records.decoder`: Avro in Confluent's wire format, against a registry on loopback."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream_app.errors import Unavailable
from stream_app.events.record import RecordSettings
from stream_app.formats.decoded import Decoded
from stream_app.formats.messages import decoder
from stream_app.settings.ingest import IngestSettings
from stream_app.settings.load import load

EXAMPLE = Path(__file__).parent.parent / "examples" / "avro_registry"


def avro_record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


PAYLOAD = avro_record("Payload", user=avro_record("User", id="string"), item=avro_record("Item", id="long"))
SCHEMA = avro_record("Event", type="string", at={"type": "long", "logicalType": "timestamp-millis"}, payload=PAYLOAD)
OLDER = {**SCHEMA, "fields": [field for field in SCHEMA["fields"] if field["name"] != "at"]}


class RegistryServer(ThreadingHTTPServer):
    """A schema registry: what it has, what it was asked for, and what it answers while it is down."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.schemas = {7: {"schema": json.dumps(SCHEMA)}, 8: {"schema": json.dumps(OLDER)}}
        self.asked: list[str] = []
        self.down = False


class _Answer(BaseHTTPRequestHandler):
    server: RegistryServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = self.server.schemas.get(int(self.path.rpartition("/")[2]))
        self.send_response(503 if self.server.down else 200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found or {"error_code": 40403}).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    server = RegistryServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def records(registry: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordSettings:
    """The settings that the README shows, loaded as the worker loads them."""
    (written,) = re.findall(r"```toml\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    (tmp_path / "asmg.toml").write_text(written)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{registry.server_address[1]}/")
    settings = load(IngestSettings)
    import confluent_avro

    monkeypatch.setattr(confluent_avro, "_registry", None)
    return settings.records


def message(kind: str, user: str, item: int, schema: int = 7) -> bytes:
    body = io.BytesIO()
    event = {"type": kind, "at": datetime(2023, 1, 31, 12, 0, 0, 5000, UTC)}
    nested = {"payload": {"user": {"id": user}, "item": {"id": item}}}
    fastavro.schemaless_writer(body, SCHEMA if schema == 7 else OLDER, {**event, **nested})
    return b"\x00" + schema.to_bytes(4, "big") + body.getvalue()


def decode(records: RecordSettings) -> Callable[..., Decoded]:
    chosen = decoder(records)
    return lambda *values: chosen(values, range(len(values)), [1_700_000_000_000] * len(values))


def test_avro_messages_come_in_with_one_request_for_their_schema(
    records: RecordSettings, registry: RegistryServer
) -> None:
    found = decode(records)(
        *[message("view", "ann", 5), message("cart", "ann", 6), message("purchase", "bob", 7), None]
    )
    rows = found.interactions
    assert (rows.users.tolist(), rows.items.tolist(), rows.labels.tolist()) == (["ann", "bob"], [5, 7], [0.0, 1.0])
    assert rows.times.tolist() == [1_675_166_400_005_000] * 2
    assert (found.offsets.tolist(), found.filtered, found.tombstones, found.bad) == ([0, 2], 1, 1, ())
    assert registry.asked == ["/schemas/ids/7"]


def test_what_cannot_be_decoded_is_refused_with_the_reason_in_words(
    records: RecordSettings, registry: RegistryServer
) -> None:
    good = message("view", "ann", 5)
    found = decode(records)(
        b'{"user": 1}',
        good[:-1],
        good + b"x",
        b"",
        message("view", "ann", 5, 8),
        *[b"\0\0\0\0\x63" + good[5:]] * 3,
        good,
    )
    assert [(row.reason, row.field) for row in found.bad] == [
        *[("undecodable", "")] * 3, ("empty", ""), ("missing-field", "at"), *[("undecodable", "")] * 3,
    ]  # fmt: skip
    said = [row.text for row in found.bad]
    assert "zero byte" in said[0]
    assert "goes on behind" in said[2]
    assert "no schema 99" in said[5]
    assert found.interactions.users.tolist() == ["ann"]
    assert sorted(registry.asked) == ["/schemas/ids/7", "/schemas/ids/8", "/schemas/ids/99"]


def test_an_outage_of_the_registry_makes_no_dead_letters(records: RecordSettings, registry: RegistryServer) -> None:
    registry.down = True
    with pytest.raises(Unavailable, match="503"):
        decode(records)(message("view", "ann", 5))
    registry.down = False
    assert len(decode(records)(message("view", "ann", 5)).interactions) == 1
