"""Limits on messages that their types do not show: size, encoding, depth, and keys that are there twice.

Most fetches are proven to be within them as a whole, by counting in the joined bytes (a quarter of the time of looking
at each message); where that is no proof, each message is judged on its own, by the same rules.

The proof for keys: a message that was decoded has each key that it must have at least once. So if there are as many in
all as there must be, none is there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from stream_app.formats import AnyMessageFormat
from stream_app.formats.pairs import Pairs
from stream_app.formats.refusal import Refusal
from stream_app.formats.row import Leaf, Read, Tree, reads, required

DEPTH = 64
"""Most maps and lists within each other, the message itself included."""

Fields = dict[str, msgspec.Raw]
_CONTAINERS = (dict, list, tuple)
_PIECE = 32 * 1024  # results of this size stay in the cache


class Limits:
    """The limits on messages of a format in which fields lie as in `tree`."""

    def __init__(self, written: AnyMessageFormat, tree: Tree, max_bytes: int) -> None:
        self._format, self._tree, self._max_bytes = written, tree, max_bytes
        self._keys = _keys(written, tree)
        self._names = tuple(key.name for key in self._keys)
        self._fields = written.decoder(Fields)
        self._content: Callable[[bytes], Any] = written.decoder(object)
        self._shallow_bytes = (DEPTH - 1) * written.bytes_a_level
        leaves = [(key, below) for key, below in tree.items() if isinstance(below, Leaf)]
        self._typed = frozenset(key for key, leaf in leaves if leaf.kind is not Any)

    def size(self, value: bytes) -> Refusal | None:
        """Why a message is not looked at."""
        if not value:
            return Refusal("empty")
        if len(value) > self._max_bytes:
            text = f"has {len(value)} bytes, records.max_bytes allows {self._max_bytes}"
            return Refusal("too-large", text=text)
        return None

    def refusal(self, value: bytes) -> Refusal | None:
        """Why a message is refused, whatever it says; None where these limits have nothing against it."""
        if too := self.size(value):
            return too
        if not self._format.is_text(value):
            return Refusal("wrong-encoding")
        if self._too_deep(value):
            return Refusal("too-deep")
        if twice := self._twice(value):
            return Refusal("duplicate-key", twice)
        return None

    def proven(self, values: Sequence[bytes], rows: Sequence[Any]) -> bool:
        """Whether these messages, decoded to `rows`, are seen to be within all limits; False says nothing."""
        joined = b"".join(values)
        return (
            (len(joined) <= self._max_bytes or max(map(len, values)) <= self._max_bytes)
            and self._format.is_text(joined)
            and self._each_once(joined, values, rows)
            and self._shallow(joined, values)
        )

    def _shallow(self, joined: bytes, values: Sequence[bytes]) -> bool:
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        if not len(sizes) or sizes.max() <= self._shallow_bytes:
            return True
        openings = self._format.openings(np.frombuffer(joined, np.uint8))
        each = np.add.reduceat(openings, np.cumsum(sizes) - sizes, dtype=np.uint32)
        return not any(self._too_deep(values[place], self._typed) for place in np.flatnonzero(each > DEPTH).tolist())

    def _too_deep(self, value: bytes, known: frozenset[str] = frozenset()) -> bool:
        """known: keys of the message under which nothing lies deep."""
        if not self._may_be_deep(value):
            return False
        try:
            fields = self._fields(value)
        except RecursionError:
            return True
        except ValueError:
            return False  # decoding says what it is
        others = [bytes(raw) for key, raw in fields.items() if key not in known]
        return any(self._may_be_deep(raw) and self._deeper(raw) for raw in others)

    def _may_be_deep(self, value: bytes) -> bool:
        if len(value) <= self._shallow_bytes:
            return False
        return int(np.count_nonzero(self._format.openings(np.frombuffer(value, np.uint8)))) >= DEPTH

    def _deeper(self, value: bytes) -> bool:
        """Whether a value of a field of the message is too deep."""
        try:
            level = [self._content(value)]
        except RecursionError:
            return True
        except ValueError:
            return False
        level = [value for value in level if isinstance(value, _CONTAINERS)]
        for _ in range(DEPTH - 1):
            level = [inner for outer in level for inner in _within(outer) if isinstance(inner, _CONTAINERS)]
        return bool(level)

    def _each_once(self, joined: bytes, values: Sequence[bytes], rows: Sequence[Any]) -> bool:
        if self._format.respelled(joined, self._names):
            return False
        all_of_it = _Joined(joined)
        elsewhere = [key for key in self._keys if not key.counted(all_of_it, key.expected(rows))]
        return not elsewhere or self._same_again(values, elsewhere)

    def _twice(self, value: bytes) -> str:
        """The path of a key that is there twice, "" where there is none."""
        seen = not self._format.respelled(value, self._names)
        if seen and (all(key.in_one(value) for key in self._keys) or self._same_again([value], self._keys)):
            return ""
        try:
            return _twice_in(self._format.pairs(value), self._tree)
        except (ValueError, RecursionError):
            return ""  # decoding says what it is

    def _same_again(self, values: Sequence[bytes], keys: Sequence[_Key]) -> bool:
        """Whether each has these keys as often when it is written anew, without what a map cannot hold twice."""
        try:
            again = list(map(self._format.encode, map(self._content, values)))
        except (ValueError, TypeError, RecursionError):
            return False
        return all(key.counts(values) == key.counts(again) for key in keys)


class _Key:
    """A key that the settings name, at one place of a message or at several."""

    def __init__(self, name: str, spellings: tuple[bytes, ...]) -> None:
        self.name, self._spellings = name, spellings
        self.always = 0
        self.maybe: list[Read] = []
        self._pairs = list(pairwise(spellings[0])) if len(spellings) == 1 else []
        self._pair = self._pairs[0] if self._pairs else None

    def expected(self, rows: Sequence[Any]) -> int:
        """How many there are at its places in the messages of these rows."""
        return self.always * len(rows) + sum(len(rows) - read(rows).count(UNSET) for read in self.maybe)

    def counted(self, joined: _Joined, expected: int) -> bool:
        """Whether there are as many in all.

        Two letters of the key are looked for first, at a quarter of the time. If they are found elsewhere too, the
        rarest two are tried the next time.
        """
        if self._pair is not None and joined.pairs(self._pair) == expected:
            return True
        found = self.count(joined.whole) == expected
        if found and self._pair is not None:
            counts = {pair: joined.pairs(pair) for pair in self._pairs}
            rarest = min(counts, key=counts.__getitem__)
            self._pair = rarest if counts[rarest] == expected else None
        return found

    def in_one(self, value: bytes) -> bool:
        """Whether one message has it no more often than it should."""
        return self.count(value) <= max(self.always, 1)

    def count(self, value: bytes) -> int:
        """How often it stands in one message or in several, and be it as a text."""
        return sum(map(value.count, self._spellings))

    def counts(self, values: Sequence[bytes]) -> list[int]:
        """The same, of each message."""
        if len(self._spellings) > 1:
            return [self.count(value) for value in values]
        return [value.count(self._spellings[0]) for value in values]


class _Joined:
    """The bytes of a fetch, to count in: as numbers of two bytes that begin at even places, and at odd ones."""

    def __init__(self, whole: bytes) -> None:
        self.whole = whole
        halves = [np.frombuffer(part[: len(part) // 2 * 2], "<u2") for part in (whole, whole[1:])]
        self._pieces = [half[first : first + _PIECE] for half in halves for first in range(0, len(half), _PIECE)]

    def pairs(self, pair: tuple[int, int]) -> int:
        """How often these two bytes stand beside each other."""
        number = pair[0] | pair[1] << 8
        return sum(int(np.count_nonzero(piece == number)) for piece in self._pieces)


def _keys(written: AnyMessageFormat, tree: Tree) -> list[_Key]:
    found: dict[str, _Key] = {}
    places = iter(reads(tree))

    def add(below: Tree) -> None:
        for name, inner in below.items():
            key = found.setdefault(name, _Key(name, written.spellings(name)))
            _, read = next(places)
            if required(inner):
                key.always += 1
            else:
                key.maybe.append(read)
            if not isinstance(inner, Leaf):
                add(inner)

    add(tree)
    return list(found.values())


def _within(outer: Any) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def _twice_in(pairs: Any, tree: Tree) -> str:
    """The path of the first key of the tree that is there twice, "" where there is none."""
    for key, below in tree.items() if isinstance(pairs, Pairs) else ():
        values = [value for name, value in pairs if name == key]
        if len(values) > 1:
            return key
        inner = _twice_in(values[0], below) if values and not isinstance(below, Leaf) else ""
        if inner:
            return f"{key}.{inner}"
    return ""
