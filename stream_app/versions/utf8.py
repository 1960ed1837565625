"""Strings in UTF-8, many at a time: their bytes as words of 64 bits, their hashes, and whether they are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

SHORT = 64
"""Bytes of a string that are handled as words, with those of all others; of longer ones the rest is handled alone."""
_ONES_THEN_ZEROS = np.repeat(np.array([255, 0], np.uint8), SHORT)


class Texts(NamedTuple):
    """Strings somewhere in `raw`: where each begins and how long it is, both int64 [n]."""

    raw: Bytes
    starts: Places
    lengths: Places

    @staticmethod
    def encoded(texts: Sequence[Any]) -> Texts:
        """Raises TypeError when one is not a string. Half of a surrogate pair is no error: no vocabulary has it.

        Zeros after the last spare `words` the way round by a copy.
        """
        joined = "\0".join(texts) + "\0" * (SHORT + (len(texts) > 0))
        raw = np.frombuffer(joined.encode("utf-8", "surrogatepass"), np.uint8)
        ends = np.flatnonzero(raw[:-SHORT] == 0)
        if len(ends) != len(texts):  # a string has a zero in it
            ends = np.cumsum([len(text.encode("utf-8", "surrogatepass")) + 1 for text in texts]) - 1
        starts = np.zeros(len(texts), np.int64)
        np.add(ends[:-1], 1, out=starts[1:])
        return Texts(raw, starts, ends - starts)

    def words(self, count: int | None = None) -> Keys:
        """[n, count]: the first 8 · count bytes of each, zeros after its end; None: as many as the longest has, at most
        those of `SHORT`.

        Bytes are read as elements as wide as the words, one beginning at every byte: one read a string.
        """
        if count is None:
            count = -(-min(int(self.lengths.max(initial=1)), SHORT) // 8)
        width, last = 8 * count, len(self.raw) - SHORT
        if self.starts.max(initial=0) <= last:
            found = _windows(self.raw, width)[self.starts]
        else:
            late, end = self.starts > last, max(last, 0)
            found = np.empty(len(self.starts), f"V{width}")
            found[late] = _windows(np.append(self.raw[end:], np.zeros(SHORT, np.uint8)), width)[self.starts[late] - end]
            found[~late] = _windows(self.raw, width)[self.starts[~late]]
        words = found.view(np.uint64)
        words &= _windows(_ONES_THEN_ZEROS, width)[SHORT - np.minimum(self.lengths, width)].view(np.uint64)
        return words.reshape(-1, count)

    def keys(self, words: Keys, factors: Keys) -> Keys:
        """A hash of each, given all its words: the sum of words x factors, of what is longer than `SHORT` with a digest
        of the whole. factors: one a word and one for the length.
        """
        keys: Keys = words @ factors[: words.shape[1]]
        keys += self.lengths.view(np.uint64) * factors[-1]
        for at in self._long(words):
            digest = hashlib.blake2b(self.bytes(at), digest_size=8, key=factors.tobytes()[:64]).digest()
            keys[at : at + 1] += np.frombuffer(digest, np.uint64)
        return keys

    def same_as(self, words: Keys, others: Texts) -> NDArray[np.bool_]:
        """[n]: whether each equals its counterpart; `words` are all of mine."""
        same: NDArray[np.bool_] = (words == others.words(words.shape[1])).all(axis=1)
        same &= self.lengths == others.lengths
        for at in self._long(words):
            same[at] = self.bytes(at) == others.bytes(at)
        return same

    def bytes(self, at: int) -> bytes:
        """Of one string."""
        return self.raw[self.starts[at] : self.starts[at] + self.lengths[at]].tobytes()

    def _long(self, words: Keys) -> list[int]:
        return np.flatnonzero(self.lengths > SHORT).tolist() if 8 * words.shape[1] == SHORT else []


def _windows(raw: Bytes, width: int) -> NDArray[np.void]:
    """As many bytes from each byte on that still has so many."""
    return np.ndarray((max(len(raw) - width + 1, 0),), f"V{width}", raw.data, strides=(1,))
