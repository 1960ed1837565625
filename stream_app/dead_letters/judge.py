"""What becomes of a dead letter: whether its original is valid by now, or why it stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stream_app.broker.sender import Message
from stream_app.events.dead_letter import DeadLetter
from stream_app.events.record import RecordSettings
from stream_app.formats.messages import decoder
from stream_app.telemetry import wall_clock

HEADER = "asmg-redriven"
"""Header of a message that was sent again: its value is the origin."""

NOT_COLLECTED, EARLIER_RUN = "not-collected", "earlier-run"
GONE, ELSEWHERE, PASSED_OVER = "original-gone", "other-topic", "passed-over"
_TEXTS = {
    NOT_COLLECTED: "no collector has passed it yet (or the group's offsets are lost); start the worker, then try again",
    EARLIER_RUN: "an earlier run refused it; the newest has read it again, and has taken it or refused it anew",
    GONE: "the letter holds only a part of it, and the original is no longer at its origin",
    ELSEWHERE: "it comes from another topic, or from a partition that is no longer there",
    PASSED_OVER: "with these settings it is no interaction at all",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a letter: "sent", or why it stays (a reason of the decoder, or one of the above)."""

    letter: DeadLetter
    became: str
    field: str = ""

    @property
    def sent(self) -> bool:
        """Whether its original is on the interactions topic again."""
        return self.became == "sent"

    @property
    def text(self) -> str:
        """The outcome for people."""
        return _TEXTS.get(self.became, f"{self.field}: {self.became}" if self.field else self.became)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "origin": str(self.letter.origin),
            "was": self.letter.reason,
            "became": self.became,
            "field": self.field,
        }


class Original(NamedTuple):
    """What lay at an origin."""

    value: bytes
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Judge:
    """Decodes an original as collectors do now."""

    def __init__(self, records: RecordSettings) -> None:
        self._decode = decoder(records)
        self._now = records.time_from == "field"

    def __call__(self, letter: DeadLetter, original: Original) -> Outcome | Message:
        now = round(wall_clock() * 1000)
        stamp = now if self._now else letter.timestamp_ms
        decoded = self._decode([original.value], [letter.offset], [stamp], [original.headers])
        if decoded.bad:
            return Outcome(letter, decoded.bad[0].reason, decoded.bad[0].field)
        if not len(decoded.interactions) and not decoded.marks:
            return Outcome(letter, PASSED_OVER)
        headers = [(name, value or b"") for name, value in original.headers]  # the client sends no null
        headers.append((HEADER, letter.key))
        return Message(
            letter.topic, letter.partition, original.value, original.key, headers, stamp if stamp >= 0 else now
        )
