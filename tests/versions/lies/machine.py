"""The lying side: everything that somebody may do who can write to the topic, one rule a lie."""

from __future__ import annotations

from functools import cache

from hostile_versions import HOSTILE, HOSTILE_BYTES, UNFIT, careful_lies
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from place import BREAKS
from scene import BOUND, Scene, tally, version_of
from simulators import envelope, flipped, forged, rekeyed, tiny_version, truncated

from stream_app.versions.manifest import MAX_VERSION, Envelope
from stream_app.versions.messages import Key, Message, chunk_key, manifest_key
from stream_app.versions.model_version import ModelVersion

PLACES = st.integers(0, 10**6)
MANNERS = ("drop", "repeat", "swap", "truncate", "flip", "rekey", "cut short", "backwards")
ATTACKS = sorted(
    (kind, name)
    for kind, named in {
        "hostile": HOSTILE,
        "careful": careful_lies(tiny_version(2)),
        "unfit": UNFIT,
        "bytes": HOSTILE_BYTES,
    }.items()
    for name in named
)
NUMBERS = ("next", "second next", "first", "last there can be")


class LyingPublisher(Scene):
    """An honest publisher, and lies in between. None of them makes a version that holds together and was not published:
    without a signature that would be one."""

    def __init__(self) -> None:
        super().__init__()
        self.forked, self.compacted = False, False

    @rule(lies=st.lists(st.tuples(st.sampled_from(MANNERS), PLACES), min_size=1, max_size=4))
    def publish_wrongly(self, lies: list[tuple[str, int]]) -> None:
        """The next version, on a way that does this to its messages."""
        log = list(self.next_one().messages)
        for manner, place in lies:
            tally[f"lie: {manner}"] += 1
            log = told(log, manner, place)
        self.send(log)

    @precondition(lambda self: self.history)
    @rule(which=PLACES, begin=PLACES, count=st.sampled_from((1, 3, 100)))
    def revive(self, which: int, begin: int, count: int) -> None:
        """Messages of some version before, as they were sent then, in the epoch of then."""
        tally["lie: revive"] += 1
        messages = self.history[which % len(self.history)].messages
        first = begin % len(messages) if count < len(messages) else 0
        self.send(messages[first : first + count])

    @rule(attack=st.sampled_from(ATTACKS))
    def send_what_is_no_version(self, attack: tuple[str, str]) -> None:
        """A hostile content, one whose header, digests and keys all fit each other, tensors that are whole and make no
        model, or mere bytes: under the next number, with all its chunks."""
        kind, name = attack
        tally[f"lie: {kind}"] += 1
        imitated, sent = plain(self.number + 1, self.to_imitate().content.parent), self.sent()
        match kind:
            case "hostile":
                self.send(forged(imitated, HOSTILE[name], sent))
            case "careful":
                self.send(forged(imitated, careful_lies(imitated)[name], sent, careful=True))
            case "unfit":
                self.send(tiny_version(imitated.number, imitated.content.parent, replaced=UNFIT[name]).messages(sent))
            case "bytes":
                self.send([(manifest_key(imitated.number), HOSTILE_BYTES[name])])

    @rule(which=st.sampled_from(("other model", "other key")))
    def misplace(self, which: str) -> None:
        """What would be right in another model, or under another number."""
        tally[f"lie: {which}"] += 1
        version, sent = self.to_imitate(), envelope(self.epoch + 1, self.run_name, model="other")
        if which == "other model":
            self.send(version.messages(sent))
        else:
            *_, (_, value) = version.messages(self.sent())
            self.send([(manifest_key(version.number + 1), value)])

    @precondition(lambda self: self.served and not self.compacted)
    @rule(which=st.sampled_from(("older epoch", "other parent", "other content", "other run in this epoch")))
    def fork(self, which: str) -> None:
        """A whole version that holds together, by somebody who was replaced or who goes on from elsewhere.

        Only what was served before tells that it is wrong, so nothing of that may be gone from the topic.
        """
        tally[f"lie: {which}"] += 1
        self.forked = True
        served = next(one for one in self.history if one.version.digest == self.served)
        number, epoch, run = served.version.number + 1, served.sent.epoch, served.sent.run
        if which == "older epoch":
            epoch -= 1
        elif which == "other content":
            number -= 1
        elif which == "other run in this epoch":
            number, run = 1, "a run of its own"
        self.send(tiny_version(number, "cd" * 32, seed=77).messages(envelope(epoch, run)))

    @rule(number=st.sampled_from(NUMBERS), count=st.sampled_from((1, 2, 30)), size=st.sampled_from((1, 900, 9_000)))
    def send_chunks_of_nothing(self, number: str, count: int, size: int) -> None:
        """Up to 270 KB for a subscriber that may hold 40, under keys that are right, and never a manifest."""
        tally["lie: chunks of nothing"] += 1
        self.send(chunk_of(self.number_of(number), index, bytes([index]) * size) for index in range(count))

    @rule(ahead=st.sampled_from((100, MAX_VERSION - 100)), later=st.sampled_from((0, 1, 1000)))
    def announce_what_never_comes(self, ahead: int, later: int) -> None:
        """A manifest that nothing is wrong with, of a version that nobody has made; a publisher that opens the topic
        behind a later epoch takes that for its own."""
        tally["lie: announced"] += 1
        never = tiny_version(self.number + ahead, "ab" * 32, seed=3)
        *_, manifest = never.messages(self.sent(later))
        self.send([manifest])
        self.epoch += later

    @rule(key=st.binary(max_size=30) | st.none(), value=st.binary(max_size=30) | st.none())
    def make_noise(self, key: bytes | None, value: bytes | None) -> None:
        tally["lie: noise"] += 1
        self.send([(key, value)])

    @precondition(lambda self: self.history)
    @rule(which=PLACES, begin=PLACES, count=st.sampled_from((1, 100)), compacted=st.booleans())
    def bury(self, which: int, begin: int, count: int, compacted: bool) -> None:
        """Tombstones for messages of some version, maybe of the one that is served."""
        tally["lie: tombstones"] += 1
        messages = self.history[which % len(self.history)].messages
        self.send((key, None) for key, _ in messages[begin % len(messages) :][:count])
        if compacted and not self.forked:
            self.compacted = True
            self.place.compact()

    @rule(how=st.sampled_from((*BREAKS, None)))
    def subscribe_again(self, how: type[Exception] | None) -> None:
        """A new process, or the same one after a breakdown."""
        tally["step: subscribe again"] += 1
        if how is None:
            self.subscribe()
        else:
            self.place.break_down(how)

    def sent(self, later: int = 0) -> Envelope:
        """As the honest publisher sends."""
        return envelope(self.epoch + later, self.run_name)

    def to_imitate(self) -> ModelVersion:
        """The version that would come next."""
        return version_of(self.run, self.number + 1)

    def number_of(self, name: str) -> int:
        return {"next": self.number + 1, "second next": self.number + 2, "first": 1}.get(name, MAX_VERSION)


@cache
def plain(number: int, parent: str) -> ModelVersion:
    """A version of format 1, which the hostile contents are made from."""
    return tiny_version(number, parent, seed=5)


def told(log: list[Message], manner: str, place: int) -> list[Message]:
    """The messages of a version after one lie at `place`; none of them is left out but by "drop" and "cut short"."""
    at, other = place % len(log), place // 7 % len(log)
    key, value = message = log[at]
    match manner:
        case "drop":
            return [*log[:at], *log[at + 1 :]] or log
        case "repeat":
            return [*log[:other], message, *log[other:]]
        case "swap":
            log[at], log[other] = log[other], log[at]
        case "cut short":
            return log[: max(1, at)]
        case "backwards":
            return log[::-1]
        case "truncate" if value:
            log[at] = truncated(message, other % len(value))
        case "flip" if value:
            log[at] = flipped(message, place // 7)
        case "rekey" if value and Key.parse(key).chunk is not None:
            log[at] = rekeyed(flipped(message, place // 7))
    return log


def chunk_of(number: int, index: int, value: bytes) -> Message:
    """A chunk that is what its key says."""
    return rekeyed((chunk_key(number, index, "0" * 16), value))


assert BOUND < 30 * 9_000
