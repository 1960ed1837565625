"""Hints say nothing rather than something that cannot be true."""

from __future__ import annotations

import pytest

from stream_app.sinks.hints import Headers, Hints


@pytest.mark.parametrize("hints", [Hints(3, 2), Hints(3, 8, 5), Hints(9, 9, 0), Hints(0, 0)])
def test_what_a_publisher_says_is_what_a_reader_hears(hints: Hints) -> None:
    assert Hints.of(hints.headers(), offset=9) == hints
    assert hints.start == min(hints.first, hints.looked)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("asmg-first", b"3")],
        [("asmg-looked", b"3")],
        [("asmg-first", b"10"), ("asmg-looked", b"3")],
        [("asmg-first", b"3"), ("asmg-looked", b"10")],
        [("asmg-first", b"3"), ("asmg-looked", b"3"), ("asmg-control", b"3")],
        [("asmg-first", b"3"), ("asmg-looked", b"3"), ("asmg-control", b"none")],
        [("asmg-first", b"-3"), ("asmg-looked", b"3")],
        [("asmg-first", b"3.0"), ("asmg-looked", b"3")],
        [("asmg-first", b"9" * 5000), ("asmg-looked", b"3")],
        [("asmg-first", "٣".encode()), ("asmg-looked", b"3")],
        [("asmg-first", None), ("asmg-looked", b"3")],
    ],
)
def test_hints_that_are_missing_or_cannot_be_true_are_none(headers: Headers) -> None:
    assert Hints.of(headers, offset=9) is None
