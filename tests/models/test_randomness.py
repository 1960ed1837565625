"""Named random streams: the same name gives the same draws, and a row's value is its own."""

from __future__ import annotations

import numpy as np
import pytest

from models.randomness import philox4x32, rng, uniform_rows

# Known answers that the authors of Philox publish with it (Random123, "kat_vectors", philox4x32 10 rounds).
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def numbers(rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int64)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: list[int], key: tuple[int, int], expected: list[int]) -> None:
    words = philox4x32(tuple(np.array([word], np.uint64) for word in counter), key)
    assert [int(word[0]) for word in words] == expected


def test_same_name_same_draws_and_every_part_of_the_name_counts() -> None:
    def first(*name: object) -> tuple[int, ...]:
        return tuple(rng(*name).integers(0, 1 << 62, 4).tolist())  # type: ignore[arg-type]

    names = [(0, 1, "negatives"), (1, 1, "negatives"), (0, 2, "negatives"), (0, 1, "training"), (0, 11, "negatives")]
    assert first(*names[0]) == first(*names[0])
    assert len({first(*name) for name in names}) == len(names)


def test_streams_of_neighbouring_periods_are_uncorrelated() -> None:
    draws = np.array([rng(0, period, "training").random(2000) for period in range(20)])
    correlations = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def test_a_rows_values_do_not_depend_on_when_or_with_whom_it_is_drawn() -> None:
    together = uniform_rows(7, "user", np.arange(1, 501), 8)
    for rows in ([3], [500, 1, 3], [3, 3]):
        drawn = uniform_rows(7, "user", numbers(rows), 8)
        assert drawn.tobytes() == together[np.array(rows) - 1].tobytes()


def test_a_wider_table_begins_with_the_same_columns() -> None:
    assert np.array_equal(
        uniform_rows(7, "user", numbers([1, 2]), 11)[:, :8], uniform_rows(7, "user", numbers([1, 2]), 8)
    )


def test_seed_table_row_and_column_all_matter() -> None:
    rows = numbers([5, 6, (1 << 32) + 5])
    drawn = [uniform_rows(seed, table, rows, 8) for seed in (0, 1) for table in ("user", "item")]
    assert len(np.unique(np.concatenate(drawn))) == 4 * 3 * 8


def test_values_are_uniform_in_minus_one_to_one() -> None:
    values = uniform_rows(0, "item", np.arange(20_000), 8)
    assert values.dtype == np.float32
    assert values.shape == (20_000, 8)
    assert values.min() >= -1
    assert values.max() < 1
    counts = np.histogram(values, bins=20, range=(-1, 1))[0]
    expected = values.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 50  # chi-square with 19 degrees of freedom: p < 1e-4
    correlation = np.corrcoef(values.T) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_no_rows_and_negative_rows() -> None:
    assert uniform_rows(0, "user", numbers([]), 8).shape == (0, 8)
    with pytest.raises(ValueError, match="-1"):
        uniform_rows(0, "user", numbers([3, -1]), 8)
