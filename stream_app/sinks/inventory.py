"""Inventory: what lies on a models topic, as its publisher must know it. Pure: told record by record, in their order.

What retention takes away:

1. All versions but the `keep` newest, those of an older run among them, the one that is pinned, and the last that we
   have sent ourselves: manifests of versions that nobody made may claim to be newer.
2. Chunks that no version there lists: what a killed publisher left of a removal, and versions of an older run whose
   number, and so whose manifest's key, a newer one has used again.
3. Never what it cannot judge: a manifest that is damaged, or in the format of a newer release, stays with all chunks of
   its number.
4. A version's manifest before its chunks, oldest version first: compaction may stop anywhere in between, and what is
   left then is chunks that nobody asks for, never a manifest without its chunks.
"""

from __future__ import annotations

from typing import NamedTuple

from stream_app.errors import SchemaMismatch, VersionRejected
from stream_app.versions.control import ControlRecord
from stream_app.versions.head import Head, head_of
from stream_app.versions.messages import CONTROL_KEY, Key, Manifest, chunk_key, manifest_key


class _There(NamedTuple):
    """A version's manifest on the topic: its value, offset, and place in the order of publishing (epoch, number), None
    where it cannot be read; the keys of its chunks."""

    value: bytes
    offset: int
    order: tuple[int, int] | None
    chunks: frozenset[bytes]


class Inventory:
    """What has a value on the topic of `model`. keep: see the module; 0: nothing goes, and no chunk is noted."""

    def __init__(self, model: str, keep: int) -> None:
        self._model, self._keep = model, keep
        self._versions: dict[int, _There] = {}
        self._chunks: set[bytes] = set()
        self._control: ControlRecord | None = None
        self.control: int | None = None
        """Offset of the control record that holds; None: there is none."""

    @property
    def newest(self) -> int:
        """Offset of the manifest that came last. Raises ValueError when there is none."""
        return max(there.offset for there in self._versions.values())

    def head(self, place: str) -> Head:
        """See `head_of`, which raises SettingsError."""
        return head_of((there.value for there in self._versions.values()), self._model, place)

    def take(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """One record. What is no version's, or damaged, is passed over."""
        if key == CONTROL_KEY:
            return self._obey(value, offset)
        try:
            name = Key.parse(key)
        except SchemaMismatch:
            return None
        if name.chunk is None:
            self._manifest(name.version, value, offset)
        elif self._keep and key is not None:
            (self._chunks.discard if value is None else self._chunks.add)(key)
        return None

    def superfluous(self, most: int, sent: int = 0) -> list[bytes]:
        """The keys to be given tombstones, in their order (rule 4); `most` of them, the others next time.

        sent: the version that was published last, which stays, whatever else on the topic says that it is newer.
        """
        known = {number: there.order for number, there in self._versions.items() if there.order is not None}
        stays = {sent, *sorted(known, key=lambda number: known[number])[-self._keep :]}  # -0: all of them
        pinned = self._pinned()
        if pinned is not None:
            stays.add(pinned.content.version)
        listed = _keys(pinned).union(*(self._versions[number].chunks for number in stays & known.keys()))
        chunks = [key for key in self._chunks - listed if self._may_go(Key.parse(key).version)]
        return sorted([*chunks, *map(manifest_key, known.keys() - stays)], key=_order)[:most]

    def _manifest(self, number: int, value: bytes | None, offset: int) -> None:
        self._versions.pop(number, None)
        if value is not None:
            self._versions[number] = there = _there(number, value, offset)
            if self._keep:
                self._chunks |= there.chunks  # of our own versions we are told the manifest only

    def _may_go(self, number: int) -> bool:
        """Whether a chunk of that number may go when no manifest that was read lists it (rule 3)."""
        there = self._versions.get(number)
        return there is None or there.order is not None

    def _obey(self, value: bytes | None, offset: int) -> None:
        try:
            record = ControlRecord.unpack(value or b"", self._model)
        except VersionRejected:
            return
        if record.outranks(self._control):
            self._control, self.control = record, offset

    def _pinned(self) -> Manifest | None:
        pin = None if self._control is None else self._control.control.pin
        return None if pin is None else pin.announced()


def _there(number: int, value: bytes, offset: int) -> _There:
    try:
        manifest = Manifest.unpack(value, number)
    except VersionRejected:
        return _There(value, offset, None, frozenset())
    return _There(value, offset, (manifest.envelope.epoch, number), _keys(manifest))


def _keys(manifest: Manifest | None) -> frozenset[bytes]:
    if manifest is None:
        return frozenset()
    number = manifest.content.version
    return frozenset(chunk_key(number, chunk.index, chunk.digest) for chunk in manifest.content.chunks)


def _order(key: bytes) -> tuple[int, bool, bytes]:
    name = Key.parse(key)
    return name.version, name.chunk is not None, key
