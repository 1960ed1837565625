"""What versions carry of their users' histories, against the slow sampler that reads the rules one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_samples import SlowSampler, learn, periods, rows_of, stream

from models.histories import UserHistories
from models.sampling import SamplerState


def of(state: SamplerState) -> UserHistories:
    return UserHistories.of(state.history_items, state.history_times)


@pytest.mark.parametrize("kind", ["int", "string"])
@pytest.mark.parametrize("seed", range(3))
def test_they_are_the_newest_thirty_positives_of_each_user_by_the_end_of_the_period(kind: str, seed: int) -> None:
    parts, slow = periods(stream(seed, rows=400, kind=kind), seed), SlowSampler()
    for part, (state, _) in zip(parts, learn(parts, 1, kind=kind), strict=True):
        slow.period(rows_of(part))
        known, ids = of(state), [None, *state.items.ids.tolist()]
        found = {
            user: [ids[row] for row in known.rows[begin:end].tolist()]
            for user, begin, end in zip(state.users.ids.tolist(), known.offsets, known.offsets[1:], strict=False)
        }
        expected: dict[Any, list[tuple[int, Any]]] = {user: slow.newest.get(user, [])[::-1] for user in found}
        assert found == {user: [item for _, item in own] for user, own in expected.items()}
        assert known.until == max(time for own in expected.values() for time, _ in own)
        at_end = [sum(time == known.until for time, _ in own) for own in expected.values()]
        assert known.newest.tolist() == at_end
    assert max(map(len, expected.values())) == 30, "or the limit is not tried"


def test_nobody_who_liked_anything_is_the_beginning_of_all_time() -> None:
    known = of(SamplerState.start())
    assert (len(known.rows), known.offsets.tolist(), known.newest.tolist(), known.until) == (0, [0], [], -(2**63))
    nothing = UserHistories.of(np.zeros((3, 30), np.int32), np.zeros((3, 30), np.int64))
    assert (nothing.offsets.tolist(), nothing.newest.tolist(), nothing.until) == ([0, 0, 0], [0, 0], -(2**63))
