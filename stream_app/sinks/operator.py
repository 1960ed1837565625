"""The operator's end of a models topic: says which version is served.

1. It is a transactional producer of an id of its own (`<kafka.transactional_id>-control`): of two operators the broker
   lets only the one finish that began last, and the publisher is not disturbed.
2. That comes first; what it finds on the topic then, no other operator changes any more.
3. Nothing is pinned that is not whole on the topic and, where keys are set, signed: a subscriber could not serve it.
4. The publisher's retention obeys no pin that it cannot see yet. So it is looked once more when everybody sees ours;
   what was buried in between is not pinned: what held before is said again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from typing import NamedTuple, Self

from stream_app.broker import KafkaSettings
from stream_app.broker.sender import Message, Sender
from stream_app.errors import BadInput, SchemaMismatch, SettingsError, Unavailable, VersionRejected, VersionsDamaged
from stream_app.sinks.hints import Hints
from stream_app.sinks.kafka_reader import KafkaReader, reached
from stream_app.sinks.near_end import Record, manifests
from stream_app.sinks.standing import control_of
from stream_app.telemetry import wall_clock
from stream_app.versions.audit import audited
from stream_app.versions.control import Control, ControlRecord, Pin, next_serial
from stream_app.versions.messages import CONTROL_KEY, Key, Manifest, manifest_key
from stream_app.versions.signing import Keys, Signer
from stream_app.versions.stock import Stock

_SHOWN_SECONDS = 65.0
"""For so long a version that is being sent may keep readers from what comes after it (`transaction_timeout_ms`)."""
_GLANCE_SECONDS = 0.02


class Said(NamedTuple):
    """What was sent, and the record that held before, if there was one."""

    now: ControlRecord
    before: ControlRecord | None


class Operator:
    """Of one model on `topic`; made, it has ended and fenced any other one."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        model: str,
        signer: Signer | None = None,
        keys: Keys | None = None,
        clock: Callable[[], float] = wall_clock,
    ) -> None:
        """signer: signs what is said; keys: of those whom subscribers believe. Raises Unavailable, AccessDenied."""
        self._kafka, self._topic, self._model, self._clock = kafka, topic, model, clock
        self._signer, self._keys, self._place = signer, keys, f"topic {topic}"
        self._said: ControlRecord | None = None
        with ExitStack() as stack:
            self._sender = stack.enter_context(Sender(kafka, f"{kafka.our('transactional_id', model)}-control"))
            self._reader = stack.enter_context(closing(KafkaReader(kafka, topic)))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def pin(self, number: int) -> Said:
        """From now on version `number` of the newest run that has it is served, and stays on the topic.

        Raises BadInput (no such version, or retention takes it just now), VersionsDamaged (not whole, or signed by
        nobody whom subscribers believe), StopTheLine (another operator has begun since), Unavailable.
        """
        _, end = self._bounds()
        pin = self._located(number)
        said = self._say(pin)
        if self._is_buried(pin.announced(), end):
            self._say(None if said.before is None else said.before.control.pin)
            raise BadInput(self._place, f"has no version {number} any more: just removed", "pin another one")
        return said

    def unpin(self) -> Said:
        """From now on the newest version is served. Raises StopTheLine or Unavailable as `pin`."""
        return self._say(None)

    def _say(self, pin: Pin | None) -> Said:
        before = self._holds()
        record = ControlRecord.of(Control(model=self._model, serial=next_serial(before, self._clock()), pin=pin))
        if self._signer is not None:
            record = self._signer.signed_control(record)
        self._check_signature(record)
        (offset,) = self._sender.transaction([Message(self._topic, 0, record.pack(), CONTROL_KEY)])
        self._said = record
        self._wait_until_shown(offset)
        return Said(record, before)

    def _is_buried(self, manifest: Manifest, since: int) -> bool:
        """Whether it was given a tombstone from that offset on, by whoever had not seen yet what we said last."""
        buried = [record for record in self._between(since, self._bounds()[1]) if record.value is None]
        own = manifest_key(manifest.content.version)
        return any(record.key == own or _chunk_of(manifest, record) is not None for record in buried)

    def _wait_until_shown(self, offset: int) -> None:
        """Readers see nothing behind a transaction that is open, and who speaks next must see what we have said."""
        deadline = time.monotonic() + _SHOWN_SECONDS
        while self._bounds()[1] <= offset:
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._place}: it is said, and holds once an older transaction there has ended")
            time.sleep(_GLANCE_SECONDS)

    def _check_signature(self, record: ControlRecord) -> None:
        if self._keys is None:
            return
        try:
            self._keys.check_control(record)
        except VersionRejected as refusal:
            raise SettingsError(
                "publish.signing_key",
                f"subscribers would not obey: {refusal}",
                "name the private key of one of subscriber.keys",
            ) from refusal

    def _between(self, start: int, stop: int) -> Iterator[Record]:
        with reached(self._kafka, self._topic):
            yield from self._reader.between(start, stop)

    def _bounds(self) -> tuple[int, int]:
        with reached(self._kafka, self._topic):
            return self._reader.bounds()

    def _holds(self) -> ControlRecord | None:
        """The record that ours is to be above. What we have said ourselves readers may not see yet: a commit is
        answered first."""
        there, said = control_of(self._between, *self._bounds(), self._model), self._said
        return said if there is None or (said is not None and said.outranks(there)) else there

    def _located(self, number: int) -> Pin:
        first, end = self._bounds()
        seen = list[int]()
        for record in manifests(self._between, first, end):
            seen.append(Key.parse(record.key).version)
            if seen[-1] == number:
                hints = Hints.of(record.headers or (), record.offset)
                begin = first if hints is None else max(first, hints.first)
                return self._whole(number, record, self._between(begin, end))
        there = ", ".join(str(one) for one in sorted(set(seen))) or "none yet"
        raise BadInput(self._place, f"has no version {number}", f"there are: {there}")

    def _whole(self, number: int, found: Record, since: Iterable[Record]) -> Pin:
        """since: from its first chunk to the end, since tombstones may have come for it."""
        value = found.value or b""
        try:
            manifest = Manifest.unpack(value, number)
        except VersionRejected as refusal:
            raise VersionsDamaged(self._place, str(refusal)) from refusal
        stock, offsets = Stock([(number, value)]), [found.offset]
        for record in since:
            if record.key == found.key and record.value is None:
                raise BadInput(self._place, f"has no version {number} any more", "pin another one")
            if (key := _chunk_of(manifest, record)) is not None:
                stock.chunks.pop(key, None)
                if record.value is not None:
                    stock.add_chunk(key, record.value)
                    offsets.append(record.offset)
        (finding,) = audited(stock, self._model, self._keys)
        if finding.problems:
            raise VersionsDamaged(self._place, f"version {number} {'; '.join(finding.problems)}")
        digest, first, last = manifest.digest, min(offsets), max(offsets)
        return Pin(version=number, digest=digest, manifest=value, first=first, last=last)


def _chunk_of(manifest: Manifest, record: Record) -> Key | None:
    try:
        key = Key.parse(record.key)
    except SchemaMismatch:
        return None
    return key if manifest.lists(key) else None
