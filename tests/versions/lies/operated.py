"""An operator who pins and unpins, and publishers who sign; and the lies about both."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from key_pairs import Pair
from machine import PLACES, LyingPublisher
from scene import tally
from simulators import MODEL, envelope, flipped, pinned, tiny_version, truncated, unpinned

from stream_app.subscriber import ModelSubscriber
from stream_app.versions.control import Control, ControlRecord
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import CONTROL_KEY, Message
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.signing import Signer


class Operated(LyingPublisher):
    """Somebody pins what was published; what is pinned is served and nothing else, until that is over."""

    def __init__(self) -> None:
        super().__init__()
        self.serial, self.pin, self.furthest = 0, "", ""
        self.records: list[Message] = []

    def subscribe(self) -> ModelSubscriber:
        self.furthest = ""
        return super().subscribe()

    @precondition(lambda self: any(map(self.oracle.went_out, self.history)))
    @rule(which=PLACES)
    def pin_one(self, which: int) -> None:
        """One that is whole: `asmg versions pin` refuses any other."""
        tally["step: pin"] += 1
        whole = [one for one in self.history if self.oracle.went_out(one)]
        one = whole[which % len(whole)]
        self.serial += 2
        self.pin = one.version.digest
        self.operate(pinned(one.version, self.serial, one.sent))
        self.only_what_was_published_is_served()
        if set(one.messages) <= set(self.place.log):
            assert self.served == self.pin, "what is pinned and there is served"

    @precondition(lambda self: self.pin)
    @rule()
    def unpin(self) -> None:
        tally["step: unpin"] += 1
        self.serial += 2
        self.pin = ""
        self.operate(unpinned(self.serial))

    def operate(self, message: Message) -> None:
        self.records.append(self.signed_record(message))
        self.send(self.records[-1:])

    def signed_record(self, message: Message) -> Message:
        return message

    @rule()
    def publish(self) -> None:
        """While something is pinned nothing else is served, however whole it is."""
        if self.pin:
            self.send(self.next_one().messages)
        else:
            super().publish()

    def teardown(self) -> None:
        if self.pin and self.subscriber is not None:
            self.unpin()
        super().teardown()

    def check_order(self, digest: str) -> None:
        """Back to the newest, too, when a pin is over."""
        if digest == self.pin:
            return
        assert digest == self.furthest or self.oracle.further(digest, self.furthest)
        self.furthest = digest

    @precondition(lambda self: self.records)
    @rule(which=PLACES, damage=st.sampled_from(("old", "flip", "truncate", "other model", "tombstone")), bit=PLACES)
    def lie_about_pins(self, which: int, damage: str, bit: int) -> None:
        tally[f"lie: control, {damage}"] += 1
        record = self.records[which % len(self.records)]
        match damage:
            case "flip":
                record = flipped(record, bit)
            case "truncate":
                record = truncated(record, bit % len(record[1] or b""))
            case "other model":
                other = Control(model="other", serial=self.serial + 1000, pin=None)
                record = CONTROL_KEY, ControlRecord.of(other).pack()
            case "tombstone":
                record = CONTROL_KEY, None
        self.forked = True  # compaction would leave the lie, and take the truth
        if not self.compacted:
            self.send([record])


_FOLDER = tempfile.TemporaryDirectory(prefix="lies-")  # removed when the process ends


@cache
def pair(name: str) -> Pair:
    """A key that is made once."""
    return Pair(Path(_FOLDER.name), name)


def signer(name: str) -> Signer:
    """Signs with it."""
    return Signer(str(pair(name).private))


class Signed(Operated):
    """The subscriber has the publisher's key: whatever is not signed with it changes nothing, not even an epoch."""

    keys = (str(pair("ours").public),)

    def signed(self, version: ModelVersion, sent: Envelope) -> Envelope:
        return signer("ours").signed(version.content_bytes, sent)

    def signed_record(self, message: Message) -> Message:
        key, value = message
        assert value is not None
        return key, signer("ours").signed_control(ControlRecord.unpack(value, MODEL)).pack()

    @rule(
        number=st.sampled_from((1, 2, 3, 12, 10**12 - 1)),
        later=st.sampled_from((0, 1, 2**62)),
        how=st.sampled_from(("unsigned", "by another", "stolen", "noise", "too long")),
    )
    def forge_a_version(self, number: int, later: int, how: str) -> None:
        """Whole, fit and newer than anything: only the signature is wrong."""
        tally[f"lie: version {how}"] += 1
        forgery = tiny_version(number, "ab" * 32, seed=13)
        self.send(forgery.messages(self.falsely_signed(forgery, envelope(self.epoch + later, "a new run"), how)))

    @precondition(lambda self: self.history)
    @rule(which=PLACES, how=st.sampled_from(("unsigned", "by another", "stolen")))
    def send_again_in_a_later_epoch(self, which: int, how: str) -> None:
        """What was really published, in an envelope that says it is newer."""
        tally[f"lie: envelope {how}"] += 1
        one = self.history[which % len(self.history)]
        later = one.sent.model_copy(update={"epoch": self.epoch + 1, "run": "a new run"})
        self.send(one.version.messages(self.falsely_signed(one.version, later, how)))

    @precondition(lambda self: self.history)
    @rule(which=PLACES, how=st.sampled_from(("unsigned", "by another", "stolen")), back=st.booleans())
    def forge_a_pin(self, which: int, how: str, back: bool) -> None:
        tally[f"lie: pin {how}"] += 1
        one = self.history[which % len(self.history)]
        message = pinned(one.version, self.serial + 1000, one.sent) if back else unpinned(self.serial + 1000)
        record = ControlRecord.unpack(message[1] or b"", MODEL)
        if how == "by another":
            record = signer("theirs").signed_control(record)
        elif how == "stolen":
            record = record._replace(signature=one.sent.signature)
        self.forked = True
        if not self.compacted:
            self.send([(CONTROL_KEY, record.pack())])

    def falsely_signed(self, version: ModelVersion, sent: Envelope, how: str) -> Envelope:
        match how:
            case "by another":
                return signer("theirs").signed(version.content_bytes, sent)
            case "stolen" if self.history:
                return sent.model_copy(update={"signature": self.history[-1].sent.signature})
            case "noise":
                return sent.model_copy(update={"signature": bytes(64)})
            case "too long":
                return sent.model_copy(update={"signature": bytes(90_000)})
        return sent.model_copy(update={"signature": None})
