"""HeldChunks: the chunks that have come under one version's number, in one buffer that grows up to a bound.

Chunks come in their order, so that the buffer is the version's safetensors file by the time it is whole, and its
tensors are views of it: a version takes its memory once. (One object a chunk would take it twice, because what an
allocator is given back in pieces of 900 KB it does not give back to the system.)
"""

from __future__ import annotations

from collections.abc import Sequence

from stream_app.versions.manifest import MAX_CHUNKS, ChunkEntry

Name = tuple[int, str]
"""A chunk is known by its index and digest: forgeries stand beside, and so do those of two runs."""


class HeldChunks:
    """Each chunk once; `size` bytes are held for them."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._places: dict[Name, tuple[int, int]] = {}
        self._came: dict[Name, None] = {}  # what came last, or came again last, at the end

    @property
    def size(self) -> int:
        """Bytes of the chunks."""
        return len(self._data)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: Name) -> bool:
        return name in self._places

    def add(self, name: Name, value: bytes, max_bytes: int) -> bool:
        """Holds one chunk more; returns whether there was no room. Then those give way that came longest ago.

        `value` is copied. An eighth of what may be held gives way at once, since what stays is moved each time.
        """
        if len(value) > max_bytes:
            return True
        full = len(self._data) + len(value) > max_bytes or len(self._places) >= MAX_CHUNKS
        if full:
            self._make_room(max_bytes - max_bytes // 8 - len(value), MAX_CHUNKS - MAX_CHUNKS // 8)
        begin = len(self._data)
        self._data += value
        self._places[name], self._came[name] = (begin, begin + len(value)), None
        return full

    def came_again(self, name: Name) -> bool:
        """Whether it is there already; then it is the last to give way."""
        if name not in self._places:
            return False
        del self._came[name]
        self._came[name] = None
        return True

    def keep(self, chunks: Sequence[ChunkEntry]) -> list[Name]:
        """Forgets all but `chunks`; returns what is forgotten."""
        names = {(chunk.index, chunk.digest) for chunk in chunks}
        others = [name for name in self._places if name not in names]
        if others:
            self._close_up([name for name in self._places if name in names])
        return others

    def joined(self, chunks: Sequence[ChunkEntry]) -> memoryview | None:
        """The bytes of `chunks`, which are all here, one after the other; None when one has not the size it lists.

        All others are forgotten. A view, but for chunks that came in another order: these are copied.
        """
        self.keep(chunks)
        places = [self._places[chunk.index, chunk.digest] for chunk in chunks]
        if any(end - begin != chunk.size for (begin, end), chunk in zip(places, chunks, strict=True)):
            return None
        whole = memoryview(self._data).toreadonly()
        if places == list(self._places.values()):
            return whole
        return memoryview(b"".join(whole[begin:end] for begin, end in places))

    def _make_room(self, size: int, count: int) -> None:
        """Forgets what came longest ago until at most `size` bytes and `count` chunks are left."""
        total, goes = len(self._data), set[Name]()
        for name in self._came:
            if total <= size and len(self._places) - len(goes) <= count:
                break
            begin, end = self._places[name]
            total -= end - begin
            goes.add(name)
        self._close_up([name for name in self._places if name not in goes])

    def _close_up(self, names: Sequence[Name]) -> None:
        """Moves what stays over what goes, in place: a second buffer might be another 4 GB."""
        moved, data = dict[Name, tuple[int, int]](), self._data
        end = 0
        for name in names:
            old_begin, old_end = self._places[name]
            begin, end = end, end + old_end - old_begin
            data[begin:end] = data[old_begin:old_end]
            moved[name] = begin, end
        del data[end:]
        self._places = moved
        self._came = {name: None for name in self._came if name in moved}
