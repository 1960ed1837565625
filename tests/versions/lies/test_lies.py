"""A lying publisher in front of a real subscriber: 1,000 sequences here, 10,000 by `make prove` (proof `lies`)."""

from __future__ import annotations

import logging

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from operated import Operated, Signed
from scene import Scene

from stream_app.subscriber import ModelSubscriber


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What is torn away on purpose need not be told a thousand times."""
    caplog.set_level(logging.CRITICAL)


def run(machine: type[Scene], sequences: int, steps: int) -> None:
    """The same sequences every time; one that fails is printed as the steps that are needed for it."""
    how = settings(max_examples=sequences, stateful_step_count=steps, deadline=None, database=None, derandomize=True)
    run_state_machine_as_test(machine, settings=how)


def test_whatever_is_said_only_whole_published_versions_are_served_and_the_next_one_at_once() -> None:
    run(Operated, sequences=700, steps=6)


def test_with_keys_nothing_that_is_not_signed_changes_anything() -> None:
    run(Signed, sequences=300, steps=6)


class InAThread(Operated):
    """The subscriber reads in its own thread, as in a serving process."""

    poll = 0.002

    def subscribe(self) -> ModelSubscriber:
        return super().subscribe().__enter__()

    def listen(self) -> None:
        self.place.settle()

    def leave(self) -> None:
        if self.subscriber is not None:
            self.subscriber.close()


def test_a_subscribers_thread_answers_as_its_steps_do() -> None:
    run(InAThread, sequences=30, steps=8)
