"""The honest side: a publisher, a topic, a real subscriber (reading, assembling, swapping), and what must hold.

After each step the subscriber has taken everything that was sent. Then

1. what it serves is what the oracle allows, by value;
2. it holds no more than its bound and has not ended;
3. whatever was said before, a version that comes whole is served at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from hostile_versions import CATEGORIES
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from oracle import Oracle, Published
from place import Place, PlaceSettings
from simulators import envelope, tiny_version

from stream_app.errors import VersionRejected
from stream_app.serving.model import ServingModel
from stream_app.subscriber import ModelSubscriber
from stream_app.subscriber.messages import FollowMessages
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Message
from stream_app.versions.model_version import ModelVersion

RUNS = 4
BOUND = 40_000
"""`max_bytes` of the subscriber: some eight versions of these."""

tally: Counter[str] = Counter()
"""What has happened in all sequences together: steps by name, refusals by class, versions served."""


@cache
def version_of(run: int, number: int) -> ModelVersion:
    """Every version is made once. One run has categories. No chunk is in two runs: what would complete a version that
    an older run left behind is not seen to be of the next one's, which then is served with its second version only."""
    parent = version_of(run, number - 1).digest if number > 1 else ""
    categories = CATEGORIES if run == 1 else None
    users, items = (11, 7, *range(90, 91 + run)), (3, 2, 9, 90 + run)
    return tiny_version(number, parent, users=users, items=items, seed=100 * run, categories=categories)


class Scene(RuleBasedStateMachine):
    """One sequence of steps; `tally` counts them."""

    poll = 0.0
    keys: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.place, self.oracle = Place(), Oracle()
        self.run, self.number, self.epoch = 0, 0, 1
        self.history: list[Published] = []
        self.subscriber: ModelSubscriber | None = None
        tally["sequences"] += 1

    @property
    def run_name(self) -> str:
        return f"run {self.run}"

    @initialize()
    def begin(self) -> None:
        self.subscribe()

    def subscribe(self) -> ModelSubscriber:
        """A new process, which knows nothing of what the one before has served."""
        self.leave()
        self.swaps, self.checked, self.served = list[ServingModel](), 0, ""
        self.place.all_taken = False
        settings = PlaceSettings(place=self.place, max_bytes=BOUND, poll=self.poll, keys=self.keys)
        self.subscriber = ModelSubscriber(settings, on_swap=self.swaps.append, on_refusal=refused)
        return self.subscriber

    def listen(self) -> None:
        """The subscriber takes everything: what its thread does, without waiting for a thread."""
        assert self.subscriber is not None
        while not self.place.all_taken:
            if self.subscriber._read():
                self.subscriber._following.close()

    def leave(self) -> None:
        """The process is gone."""

    def signed(self, version: ModelVersion, sent: Envelope) -> Envelope:
        """The envelope as the honest publisher sends it."""
        return sent

    def send(self, messages: Iterable[Message]) -> None:
        sent = list(messages)
        self.oracle.hears(sent)
        self.place.add(sent)

    def next_one(self) -> Published:
        """The version that the honest publisher makes next, and wants served."""
        self.number += 1
        version = version_of(self.run, self.number)
        one = Published.of(version, self.signed(version, envelope(self.epoch, self.run_name)))
        self.oracle.publishes(one)
        self.history.append(one)
        return one

    @rule()
    def publish(self) -> None:
        tally["step: publish"] += 1
        one = self.next_one()
        self.send(one.messages)
        self.only_what_was_published_is_served()
        assert self.served == one.version.digest, "a whole version is served at once"

    @rule(anew=st.booleans())
    def be_replaced(self, anew: bool) -> None:
        """Another publisher goes on with the run, or begins a new one."""
        tally["step: replaced"] += 1
        if anew and self.run + 1 < RUNS:
            self.run, self.number = self.run + 1, 0
        self.epoch += 1

    @invariant()
    def only_what_was_published_is_served(self) -> None:
        if self.subscriber is None:
            return
        self.listen()
        for model in self.swaps[self.checked :]:
            self.oracle.check(model)
            self.check_order(model.version.digest)
            self.served = model.version.digest
            tally["versions served"] += 1
        self.checked = len(self.swaps)
        serving = self.subscriber.model
        assert (serving.version.digest if serving else "") == self.served == self.subscriber.health().digest
        following = self.subscriber._following
        assert isinstance(following, FollowMessages)
        assert following._assembler.held_bytes <= BOUND

    def check_order(self, digest: str) -> None:
        assert self.oracle.further(digest, self.served), f"{self.served} is newer than {digest}"

    def teardown(self) -> None:
        """Whatever was said: it is current again with the next whole version."""
        try:
            if self.subscriber is not None:
                self.publish()
        finally:
            self.leave()


def refused(refusal: VersionRejected) -> None:
    """What a refusal is counted as."""
    tally[f"refused: {type(refusal).__name__}"] += 1
