"""Avro messages in Confluent's wire format, with schemas from a registry: an example of `records.decoder`.

A message is a zero byte, the schema's id (4 bytes, big-endian) and an Avro body. The registry is named by
SCHEMA_REGISTRY_URL; SCHEMA_REGISTRY_AUTH may hold "user:password".

1. A schema never changes under its id: it is fetched once.
2. An id that the registry does not know makes its message a dead letter. It is remembered for a minute, so that a
   stream of such messages is no stream of requests.
3. A registry that does not answer is an outage, not a bad message: `Unavailable` ends the collector, which is started
   again and goes on with the same message.
"""

from __future__ import annotations

import base64
import io
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import fastavro

from stream_app.errors import Unavailable

TIMEOUT_SECONDS = 2.0
FORGET_SECONDS = 60.0
MOST_IDS = 1_000
_HEADER_BYTES = 5


class Registry:
    """Schemas by id, of the registry at `url`."""

    def __init__(self, url: str, auth: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._clock = url.rstrip("/"), clock
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json"}
        if auth:
            self._headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
        self._schemas: dict[int, Any] = {}
        self._unknown: dict[int, float] = {}

    def schema(self, number: int) -> Any:
        """The parsed schema of this id. Raises ValueError when there is none that can be read, and Unavailable."""
        if number in self._schemas:
            return self._schemas[number]
        if self._clock() < self._unknown.get(number, float("-inf")):
            raise ValueError(f"the registry has no schema {number}")
        found = self._fetched(number)
        if found.get("schemaType", "AVRO") != "AVRO" or found.get("references"):
            raise ValueError(f"schema {number} is no Avro schema of its own")
        self._schemas[number] = fastavro.parse_schema(json.loads(found["schema"]))
        return self._schemas[number]

    def _fetched(self, number: int) -> dict[str, Any]:
        request = urllib.request.Request(f"{self._url}/schemas/ids/{number}", headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                found: dict[str, Any] = json.load(response)
                return found
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise Unavailable(f"the schema registry at {self._url} answers {error.code} {error.reason}") from error
            if len(self._unknown) >= MOST_IDS:
                self._unknown.clear()
            self._unknown[number] = self._clock() + FORGET_SECONDS
            raise ValueError(f"the registry has no schema {number}") from error
        except OSError as error:
            raise Unavailable(f"the schema registry at {self._url} does not answer: {error}") from error


_registry: Registry | None = None


def record(value: bytes) -> Any:
    """The record in a message, as `records.decoder` wants it. Raises Unavailable, ValueError, what fastavro raises."""
    global _registry
    if len(value) <= _HEADER_BYTES or value[0] != 0:
        raise ValueError("a message in Confluent's wire format begins with a zero byte and the id of its schema")
    if _registry is None:
        _registry = Registry(os.environ["SCHEMA_REGISTRY_URL"], os.environ.get("SCHEMA_REGISTRY_AUTH", ""))
    body = io.BytesIO(value[_HEADER_BYTES:])
    found = fastavro.schemaless_reader(body, _registry.schema(int.from_bytes(value[1:_HEADER_BYTES], "big")), None)
    if body.read(1):
        raise ValueError("the message goes on behind its record")
    return found
