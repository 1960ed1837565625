"""Sends originals of dead letters to the interactions topic again: those that are valid by now, each once.

Rules:
1. One transaction holds the message (header `asmg-redriven`: its origin) and, under the origin's key, the letter that
   closes it. Both are there or neither is, and collectors read committed records only.
2. Opening the transactional producer comes first: it ends what an earlier redrive left open and fences one that still
   runs, so that the topic that is read next says what was sent.
3. Only what the collectors have passed is sent: an original that a collector may still read, with the settings as they
   are now, would otherwise come in twice.
4. An original that its letter holds in part is fetched from its origin; size and SHA-256 must be those of the letter.
5. Nor is what a newer run has read again: its collectors have taken it, or refused it in a letter of their own.
6. Late letters are sent only when asked for by reason, and never where late rows do not enter periods.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple, Self

from stream_app.broker.preflight import preflight
from stream_app.broker.sender import Message, Sender
from stream_app.dead_letters.judge import EARLIER_RUN, ELSEWHERE, GONE, NOT_COLLECTED, Judge, Original, Outcome
from stream_app.dead_letters.reading import LetterBox, Refused
from stream_app.dead_letters.register import Letters
from stream_app.dead_letters.run import Run
from stream_app.errors import BadInput, SettingsError
from stream_app.events.dead_letter import LATE, REDRIVEN, DeadLetter, Origin
from stream_app.live.cluster.ends import committed
from stream_app.live.cluster.roles import rights
from stream_app.live.cluster.topic_reader import TopicReader
from stream_app.live.worker_settings import WorkerSettings

_LETTERS, _BYTES = 200, 4 << 20  # of one transaction, which holds collectors back while it is open


class Wanted(NamedTuple):
    """Which letters: of these origins, else of these reasons, else all but the late ones."""

    origins: tuple[Origin, ...] = ()
    reasons: tuple[str, ...] = ()


class Redrive:
    """One redrive; made, it has fenced the one before it (not in a dry run) and knows which letters it is about."""

    def __init__(self, settings: WorkerSettings, wanted: Wanted, dry_run: bool = False) -> None:
        """Raises SettingsError (rule 6), BadInput (an origin without a letter), Unavailable, AccessDenied."""
        if LATE in wanted.reasons and settings.periods.late != "next-period":
            raise SettingsError(
                "periods.late",
                f"is {settings.periods.late!r}: late letters that are sent again would be late again",
                'only a run with "next-period" takes them: it begins with `asmg worker --new-run`',
            )
        self._settings = settings
        needed = rights("redrive", settings.kafka, settings.topics, settings.model)
        preflight(settings.kafka, (), [] if dry_run else needed)
        with ExitStack() as stack:
            self._sender = None if dry_run else stack.enter_context(Sender(settings.kafka, transactional_id(settings)))
            self._box = stack.enter_context(LetterBox(settings.kafka, settings.topics.dead_letters))
            self._source = stack.enter_context(TopicReader(settings.kafka, settings.topics.interactions))
            self._committed = committed(settings.kafka, collect_group(settings), settings.topics.interactions)
            self._run = Run.newest(settings)
            self._letters = self._select(wanted)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return len(self._letters)

    def run(self) -> Iterator[Outcome]:
        """What becomes of each letter; told when it is so. Raises StopTheLine when another redrive has begun."""
        judge = Judge(self._settings.records)
        waiting: list[tuple[DeadLetter, Message]] = []
        for refused in self._box.read(self._letters.offsets):
            letter = refused.letter
            why, original = self._original(refused)
            outcome = Outcome(letter, why) if original is None else judge(letter, original)
            if not isinstance(outcome, Outcome):
                waiting.append((letter, outcome))
                if len(waiting) == _LETTERS or sum(len(message.value) for _, message in waiting) > _BYTES:
                    yield from self._send(waiting)
                    waiting = []
            else:
                yield outcome
        yield from self._send(waiting)

    def _select(self, wanted: Wanted) -> Letters:
        letters, _ = self._box.letters()
        if wanted.origins:
            there = letters.of_origins(wanted.origins)
            missing = [origin for origin in wanted.origins if not len(letters.of_origins([origin]))]
            if missing:
                raise BadInput(self._box.reader.topic, f"has no dead letter of {', '.join(map(str, missing))}")
            letters = there
        letters = letters.open()
        if wanted.reasons:
            return letters.of_reasons(wanted.reasons)
        return letters.of_reasons(set(letters.names) - {LATE, REDRIVEN})

    def _original(self, refused: Refused) -> tuple[str, Original | None]:
        """("", the original), or why it cannot be sent."""
        letter = refused.letter
        if letter.topic != self._settings.topics.interactions or letter.partition not in self._source.ranges:
            return ELSEWHERE, None
        if letter.offset >= self._committed.get(letter.partition, 0):
            return NOT_COLLECTED, None
        if self._run.has_read_again(letter, refused.at_ms):
            return EARLIER_RUN, None
        if not letter.cut:
            return "", Original(letter.value or b"", letter.record_key, letter.headers)
        record = self._source.record_at(letter.partition, letter.offset)
        if record is None or hashlib.sha256(record.value or b"").hexdigest() != letter.sha256:
            return GONE, None
        return "", Original(record.value or b"", record.key, record.headers)

    def _send(self, waiting: list[tuple[DeadLetter, Message]]) -> Iterator[Outcome]:
        if self._sender is not None and waiting:
            closing = [
                Message(self._settings.topics.dead_letters, 0, one.closed().encode(), one.key) for one, _ in waiting
            ]
            self._sender.transaction([*(message for _, message in waiting), *closing])
        for letter, _ in waiting:
            yield Outcome(letter, "sent")


def transactional_id(settings: WorkerSettings) -> str:
    """Of the one redrive that a model may have at a time."""
    return settings.kafka.our("transactional_id", settings.model) + "-redrive"


def collect_group(settings: WorkerSettings) -> str:
    """The consumer group of the collectors."""
    return settings.kafka.our("collect_group", settings.model)
