"""Randomness: one seed and named, independent streams, always drawn on the CPU; nothing random needs to be stored.

Two kinds: a generator for what is drawn once in a fixed order (`rng`), and values that belong to a row of a table and
do not depend on when, or together with which others, the row is drawn (`uniform_rows`).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

# Multipliers and key increments of Philox4x32: Salmon and others, "Parallel Random Numbers: As Easy as 1, 2, 3"
# (SC 2011). The uint64 type makes a product of two 32-bit words exact.
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def rng(seed: int, period: int, purpose: str) -> np.random.Generator:
    """The generator of one named stream, such as `rng(0, 12, "negatives")`: the same name gives the same draws.

    Streams whose names differ are independent: the SHA-256 of a name is the key of a counter-based generator.
    """
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_hashed(seed, period, purpose)[:16], "little")))


def uniform_rows(seed: int, table: str, rows: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    """Uniform values in [-1, 1) for rows of a table: float32 [len(rows), width], steps of 2^-23.

    A value depends on (seed, table, row, column) alone: a row born in period 40 has the value that it would have had
    when drawn in period 1, alone or among others. Raises ValueError when a row number is negative.
    """
    if len(rows) and int(rows.min()) < 0:
        raise ValueError(f"negative row number {int(rows.min())} in table {table!r}")
    key = _hashed(seed, table)
    blocks = -(-width // 4)
    row = np.repeat(rows.astype(np.uint64), blocks)
    block = np.tile(np.arange(blocks, dtype=np.uint64), len(rows))
    counter = (row & _WORD, row >> _HALF, block, np.zeros_like(block))
    words = philox4x32(counter, (int.from_bytes(key[:4], "little"), int.from_bytes(key[4:8], "little")))
    drawn = np.stack(words, axis=1).reshape(len(rows), blocks * 4)[:, :width]
    # 24 bits fit a float32 exactly, so the upper end 1 cannot be reached by rounding.
    return (drawn >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)


def philox4x32(counter: tuple[NDArray[np.uint64], ...], key: tuple[int, int]) -> tuple[NDArray[np.uint64], ...]:
    """Philox4x32-10 of the paper: four 32-bit counter words [n] (in uint64 arrays) to four random 32-bit words [n]."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0), (p0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _WORD, p0 & _WORD
        k0, k1 = (k0 + _KEY_INCREMENTS[0]) & 0xFFFFFFFF, (k1 + _KEY_INCREMENTS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def _hashed(*name: int | str) -> bytes:
    return hashlib.sha256("/".join(map(str, name)).encode()).digest()
