"""Everything that could keep a role from working, looked at before it starts: one answer for each, none of them fatal.

Nothing is changed by it, neither on the cluster nor in the state directory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stream_app.broker import KafkaSettings
from stream_app.broker.connection import Connection
from stream_app.broker.preflight import advertised, connect, granted, principal, reach_each
from stream_app.broker.rights import Right, describe, missing
from stream_app.errors import AccessDenied, AsmgError, SettingsError
from stream_app.live.cluster.roles import Role
from stream_app.live.cluster.topics import TopicSettings
from stream_app.live.cluster.topics_check import fit
from stream_app.sinks.publish_settings import PublishSettings
from stream_app.versions.signing import Keys

if TYPE_CHECKING:  # a serving process has no worker's packages
    from stream_app.live.worker_settings import WorkerSettings

LEAST_FREE_BYTES = 1 << 30
"""A snapshot of the largest models that were tried is a tenth of it."""


@dataclass(frozen=True)
class Check:
    """One answer. name: what was looked at; said: what was found; error: why it would not work."""

    name: str
    said: str
    error: AsmgError | None = None
    known: bool = True

    @property
    def result(self) -> str:
        """ "ok", "problem", or "not checked"."""
        return "problem" if self.error else "ok" if self.known else "not checked"


def of_cluster(kafka: KafkaSettings, topics: TopicSettings, rights: Sequence[Right]) -> Iterator[Check]:
    """Brokers, credentials, rights and topics, as far as one can get."""
    found = reach_each(kafka, kafka.addresses)
    yield from _brokers(found)
    if not any(error is None for error in found.values()):
        return
    with connect(kafka) as connection:
        others = [address for address in advertised(connection) if address not in found]
        yield from _brokers(reach_each(kafka, others))
        yield from _rights(connection, kafka, rights)
        yield from _topics(connection, kafka, topics, [right.name for right in rights if right.kind == "topic"])


def of_keys(role: Role, publish: PublishSettings, keys: Sequence[str]) -> Iterator[Check]:
    """The key that this role signs with and those whose signatures it takes, where they are set."""
    if publish.signing_key and role in ("worker", "operator"):
        yield _tried("signing key", f"{publish.signing_key} signs what we send", publish.signer)
    if keys and role in ("subscriber", "operator"):
        yield _tried("keys", f"{len(keys)} can be read, and signatures checked", lambda: Keys.of(keys))


def of_worker(settings: WorkerSettings) -> Iterator[Check]:
    """State directory and device."""
    from stream_app.live.worker import check_state

    yield _tried("state directory", f"{settings.state_directory} fits the settings", lambda: check_state(settings))
    yield _tried("disk", "there is room, and it can be written to", lambda: _look_at_disk(settings.state_directory))
    if settings.learning is not None:
        from stream_app.learning import check_device

        learning = settings.learning
        yield _tried("device", f"learning.device = {learning.device} is there", lambda: check_device(learning))


def _brokers(found: dict[tuple[str, int], AsmgError | None]) -> Iterator[Check]:
    for (host, port), error in found.items():
        yield Check("broker", str(error) if error else f"{host}:{port} answers and lets us in", error)


def _rights(connection: Connection, kafka: KafkaSettings, rights: Sequence[Right]) -> Iterator[Check]:
    who = principal(kafka)
    there = describe(connection, [right.name for right in rights if right.kind == "topic"])
    for right in rights:
        lacking = missing(connection, [right])
        if lacking:
            error = lacking[0].denied(who)
            yield Check("right", str(error), error)
        elif right.kind == "topic" and there[right.name].operations is None:
            yield Check("right", f"{right.resource}: Kafka does not tell", known=False)
        else:
            yield Check("right", f"{who} may {' and '.join(right.operations).lower()} {right.resource}")


def _topics(
    connection: Connection, kafka: KafkaSettings, topics: TopicSettings, names: Sequence[str]
) -> Iterator[Check]:
    found = fit(connection, topics)
    for name in names:
        present = _tried("topic", f"{name} fits", partial(granted, connection, kafka, [name], ()))
        if isinstance(present.error, AccessDenied):
            yield Check("topic", f"{name}: we may not see it", known=False)  # the missing right has been told
            continue
        wrong = [one for one in found.differences if one.topic == name]
        for one in wrong:
            yield Check("topic", f"{name} {one.found}; {one.remedy}", one.error() if one.serious else None, known=False)
        if name in found.unchecked and not present.error:
            yield Check("topic", f"{name} is there; its settings may not be seen (DescribeConfigs)", known=False)
        elif not wrong:
            yield present


def _tried(name: str, said: str, look: Callable[[], object]) -> Check:
    try:
        look()
    except AsmgError as error:
        return Check(name, str(error), error)
    return Check(name, said)


def _look_at_disk(directory: Path) -> None:
    """Raises SettingsError when nothing can be written there, or only little; the directory itself is not made."""
    there = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"asmg")
        free = shutil.disk_usage(there).free
    except OSError as error:
        problem = f"{there} cannot be written to: {error.strerror}"
        raise SettingsError("state_directory", problem, "let this user write there") from error
    if free < LEAST_FREE_BYTES:
        raise SettingsError(
            "state_directory", f"{there} has {free / 1e9:.2f} GB free", f"make room for {LEAST_FREE_BYTES / 1e9:.1f} GB"
        )
