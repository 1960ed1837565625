"""Live rows behind a version's history: bounded, in the order of event time, and whole also while they are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_app.serving.histories import OwnHistory
from stream_app.subscriber.histories.live import LiveHistories, continued
from stream_app.subscriber.histories.positives import Positives

OWN = OwnHistory(["c", "b", "a"], 1)
"""Until time 10, of which "c" is."""


def positives(*rows: tuple[Any, Any, int]) -> Positives:
    users, items, times = zip(*rows, strict=True) if rows else ((), (), ())
    kinds = [object if any(isinstance(one, str) for one in column) else np.int64 for column in (users, items)]
    return Positives(np.array(users, kinds[0]), np.array(items, kinds[1]), np.array(times, np.int64))


@pytest.mark.parametrize("seed", range(5))
def test_of_each_user_the_newest_thirty_are_held_whatever_order_they_come_in(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = list(zip(*(draw.integers(0, size, 400).tolist() for size in (8, 30, 60)), strict=True))
    live = LiveHistories(20, limit=1000)
    for begin in range(0, 400, 37):
        live.add(positives(*rows[begin : begin + 37]))
    for since in (20, 45, 60):
        live.drop_before(since)
        expected = {
            user: sorted((time, item) for other, item, time in rows if other == user and time >= 20)[-30:]
            for user in range(8)
        }
        kept = {user: tuple(entry for entry in own if entry[0] >= since) for user, own in expected.items()}
        assert {user: live.of(user) for user in range(8)} == kept
        assert (live.rows, len(live)) == (sum(map(len, kept.values())), sum(map(bool, kept.values())))
    live.add(positives((1, 2, 59), (1, 2, 60)))
    assert live.of(1) == ((60, 2),), "what was passed by does not come back"


def test_beyond_the_limit_the_users_longest_without_a_row_are_forgotten() -> None:
    live = LiveHistories(0, limit=20)
    live.add(positives(*((user, item, 10 * user + item) for user in range(10) for item in (1, 2))))
    assert (live.rows, live.forgotten) == (20, 0)
    live.add(positives((0, 3, 500)))
    assert (live.rows, live.forgotten) == (17, 2)
    assert [bool(live.of(user)) for user in range(4)] == [True, False, False, True], "user 0 has just come back"
    for number in range(1000):
        live.add(positives((1000 + number, 1, 600 + number)))
        assert live.rows <= 20
    assert len(live.of(1999)) == 1


def test_live_rows_stand_before_those_of_the_version() -> None:
    assert continued(OWN, 10, ()) == ["c", "b", "a"]
    assert continued(OWN, 10, ((12, "d"), (15, "a"))) == ["a", "d", "c", "b", "a"]
    many = tuple((20 + number, number) for number in range(40))
    assert continued(OWN, 10, many) == list(range(39, 9, -1))
    assert continued(OwnHistory([], 0), 10, ((12, "d"),)) == ["d"], "a user that the version does not know"


def test_rows_of_the_last_moment_come_from_the_stream_once_it_has_been_read_that_far() -> None:
    """The period ended within that moment: "c" was in it, "e" was not."""
    assert continued(OWN, 10, ((10, "c"), (10, "e"), (11, "f"))) == ["f", "e", "c", "b", "a"]
    two = OwnHistory(["d", "c", "b"], 2)
    assert continued(two, 10, ((10, "c"),)) == ["d", "c", "b"], "half of it has been read: the version knows it all"
    assert continued(two, 10, ((9, "x"), (10, "c"), (10, "d"))) == ["d", "c", "b"], "held for an earlier version"


def test_what_is_not_strictly_earlier_is_left_out() -> None:
    live = ((10, "c"), (11, "e"), (12, "f"))
    assert continued(OWN, 10, live, before=12) == ["e", "c", "b", "a"]
    assert continued(OWN, 10, live, before=11) == ["c", "b", "a"]
    assert continued(OWN, 10, live, before=10) == ["b", "a"]
