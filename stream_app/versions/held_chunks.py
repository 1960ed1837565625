"""HeldChunks: the chunks of one version while it is not complete, in one buffer that grows.

Chunks come in their order, so that the buffer is the version's safetensors file by the time it is whole, and its
tensors are views of it: a version takes its memory once. (One object a chunk would take it twice, because what an
allocator is given back in pieces of 900 KB it does not give back to the system.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from stream_app.versions.manifest import ChunkEntry

Name = tuple[int, str]
"""A chunk is known by its index and digest: forgeries stand beside."""


class HeldChunks:
    """Each chunk once; `size` bytes are held for them."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._places: dict[Name, tuple[int, int]] = {}

    @property
    def size(self) -> int:
        """Bytes of the chunks."""
        return len(self._data)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: Name) -> bool:
        return name in self._places

    def add(self, name: Name, value: bytes) -> None:
        """`value` is copied."""
        begin = len(self._data)
        self._data += value
        self._places[name] = begin, begin + len(value)

    def keep(self, names: Collection[Name]) -> list[Name]:
        """Forgets all others, and their bytes; returns what is forgotten."""
        others = [name for name in self._places if name not in names]
        if others:
            self._close_up([name for name in self._places if name in names])
        return others

    def joined(self, chunks: Sequence[ChunkEntry]) -> memoryview | None:
        """The bytes of `chunks`, which are all here, one after the other; None when one has not the size it lists.

        A view, but for chunks that came in another order: these are copied.
        """
        places = [self._places[chunk.index, chunk.digest] for chunk in chunks]
        if any(end - begin != chunk.size for (begin, end), chunk in zip(places, chunks, strict=True)):
            return None
        whole = memoryview(self._data).toreadonly()
        if places == list(self._places.values()):
            return whole
        return memoryview(b"".join(whole[begin:end] for begin, end in places))

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
