"""Which letters count, against a mapping kept by hand."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stream_app.dead_letters.register import Letters, Register
from stream_app.events.dead_letter import DeadLetter, Origin

Event = tuple[int, str]


def registered(events: list[Event]) -> Letters:
    """events: (offset of the origin, reason) in the order of the topic; they lie at offsets 10, 20 ..."""
    register = Register()
    for n, (offset, reason) in enumerate(events, 1):
        letter = DeadLetter.of(Origin("in", 0, offset), 0, b"x", "any" if reason == "redriven" else reason)
        register.add(10 * n, letter.closed() if reason == "redriven" else letter)
    return register.letters()


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", "c", "redriven"])), max_size=30))
def test_of_each_origin_the_latest_letter_counts_and_what_was_sent_again_stays_closed(events: list[Event]) -> None:
    latest: dict[int, tuple[int, str]] = {}
    for n, (origin, reason) in enumerate(events, 1):
        if reason != "redriven":
            latest[origin] = (10 * n, reason)
    closed = {origin for origin, reason in events if reason == "redriven"}

    found = registered(events)
    assert found.offsets.tolist() == sorted(offset for offset, _ in latest.values())
    left = {origin: letter for origin, letter in latest.items() if origin not in closed}
    assert found.open().offsets.tolist() == sorted(offset for offset, _ in left.values())
    assert found.open().by_reason() == Counter(reason for _, reason in left.values())
    assert found.open().of_reasons(["b", "not there"]).offsets.tolist() == sorted(
        offset for offset, reason in left.values() if reason == "b"
    )
    for origin, (offset, _) in latest.items():
        assert found.of_origins([Origin("in", 0, origin)]).offsets.tolist() == [offset]


def test_thousands_of_reasons_count_together_beyond_a_bound() -> None:
    found = registered([(n, f"reason {n}") for n in range(3000)])
    assert len(found) == 3000
    assert len(found.names) == 1000
    assert found.by_reason()["other"] == 3000 - 998
