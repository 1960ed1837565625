"""Slots: where the row of a key stands, in an array that can be mapped from a file: three reads find it.

Cuckoo hashing with three places a key (Fotakis, Pagh, Sanders, Spirakis 2005), each the top bits of key x odd number
mod 2^64. The table is filled many keys at a time: each takes one of its places that is free; who finds none takes one
all the same, and who stood there moves to another of its own. Beside a search among sorted keys: a quarter of the time
(500 of 46 k keys), 5 to 10 bytes a key instead of 12, and no second array of all keys while it is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Places = NDArray[np.int64]

BLOCK = 65_536
_ROUNDS = 400
"""A block that is not placed by then will not be; good ones take up to some 70, measured at 70 % full."""


def slots_for(count: int) -> int:
    """How many slots so many keys take: a power of two that they fill to 80 % at most."""
    return 1 << max(count * 5 // 4, 1).bit_length()


def multipliers(seed: str) -> Iterator[Keys]:
    """Three odd numbers, and three others, and so on: nobody who chooses keys can choose them for these."""
    for attempt in range(16):
        drawn = hashlib.sha256(f"{seed}/{attempt}".encode()).digest()[:24]
        yield np.frombuffer(drawn, "<u8") | np.uint64(1)


def places(keys: Keys, odd: Keys, slots: int) -> Places:
    """[3, n]: the slots, out of a power of two of them, in which the rows of `keys` may stand."""
    found = np.multiply(keys, odd[:, None])
    found >>= np.uint64(65 - slots.bit_length())
    return found.view(np.int64)


def filled(keys: Keys, odd: Keys) -> NDArray[np.int32] | None:
    """Slots with row 1 for the first key, and so on, 0 where none is; None when not all find a place.

    Keys of which more than three are the same never do.
    """
    slots = np.zeros(slots_for(len(keys)), np.int32)
    for begin in range(1, len(keys) + 1, BLOCK):
        rows = _without_place(slots, keys, odd, begin)
        ways = np.zeros(len(rows), np.int64)
        for turn in range(_ROUNDS):
            if not len(rows):
                break
            rows, ways = _placed(slots, keys, odd, rows, ways)
            ways = (ways + 1 + turn // 3 % 2) % 3  # not always round in the same circle
        else:
            return None
    return slots


def _without_place(slots: NDArray[np.int32], keys: Keys, odd: Keys, begin: int) -> Places:
    """Puts each row of the block that begins there where one of its places is free; returns those that have none.

    Moving them from the start takes twice as long, measured with 5.5 million keys.
    """
    wanted = keys[begin - 1 : begin - 1 + BLOCK]
    rows = np.arange(begin, begin + len(wanted), dtype=np.int32)
    for way in range(len(odd)):
        (own,) = places(wanted, odd[way : way + 1], len(slots))
        free = slots.take(own) == 0
        slots[own[free]] = rows[free]
        left = np.flatnonzero(slots.take(own) != rows)
        rows, wanted = rows.take(left), wanted.take(left)
    return rows.astype(np.int64)


def _placed(slots: NDArray[np.int32], keys: Keys, odd: Keys, rows: Places, ways: Places) -> tuple[Places, Places]:
    """Puts each row at its place of that way; returns those that have none now, and of which way it was.

    Of several that want one place the last in `rows` gets it.
    """
    own = places(keys[rows - 1], odd, len(slots))[ways, np.arange(len(rows))]
    before = slots[own]
    slots[own] = rows
    won = slots[own] == rows
    moved, left = before[won].astype(np.int64), own[won]
    moved, left = moved[moved > 0], left[moved > 0]
    ways_left = np.argmax(places(keys[moved - 1], odd, len(slots)) == left, axis=0)
    return np.concatenate([rows[~won], moved]), np.concatenate([ways[~won], ways_left])
