"""What can go wrong, grouped by what the program does about it.

| group | what the program does | exit code |
|---|---|---|
| `SettingsError` | says which setting is wrong and what would be right; nothing was started | 2 |
| `BadInput` | a file or column of a recording is wrong: names it; nothing was written for it | 2 |
| `LawsBroken` | says of each law of `asmg check-method` or `check-model` that is broken what was seen | 2 |
| `StopTheLine` | stops before anything wrong is written or published; a person must decide | 3 |
| `Unavailable` | retries with a deadline, then gives up; trying again later may help | 4 |
| `DamagedLetter` | a message of the dead-letter topic is told and passed over | - |
| `BadRecord` | never raised out of ingestion: the record goes to the dead-letter topic, the stream goes on | - |
| `VersionRejected` | the subscriber keeps serving the version it has | - |

Every class carries fields beside its text, so that callers and tests need not parse messages.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class AsmgError(Exception):
    """Root of all errors that asmg-stream raises on purpose."""

    exit_code = 1


class SettingsError(AsmgError):
    """A setting is missing, unknown or wrong. Nothing was started; mend the setting it names."""

    exit_code = 2

    def __init__(self, key: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"setting {key}: {problem}" + (f"; {remedy}" if remedy else ""))
        self.key, self.problem, self.remedy = key, problem, remedy


class BadInput(AsmgError):
    """A recording cannot be read as told: names the file and, where it applies, the column or row."""

    exit_code = 2

    def __init__(self, path: str | Path, problem: str, remedy: str = "") -> None:
        super().__init__(f"{path}: {problem}" + (f"; {remedy}" if remedy else ""))
        self.path, self.problem, self.remedy = str(path), problem, remedy


class LawsBroken(AsmgError):
    """Somebody's own update method or base model breaks laws that every one keeps; each was told with what was seen."""

    exit_code = 2

    def __init__(self, name: str, laws: Sequence[str]) -> None:
        super().__init__(f"{name} breaks {len(laws)} of the laws: {', '.join(laws)}")
        self.name, self.laws = name, tuple(laws)


class StopTheLine(AsmgError):
    """Going on would lose, repeat or corrupt something. Nothing wrong was written; the message names the remedy."""

    exit_code = 3


class OffsetGap(StopTheLine):
    """Offsets of a source partition are missing between what is stored and what arrived."""

    def __init__(self, partition: int, expected: int, got: int) -> None:
        super().__init__(
            f"source partition {partition}: expected a segment that starts at or before offset {expected}, got {got}; "
            "the segments topic has lost data: restore it, or begin anew with `asmg worker --new-run`"
        )
        self.partition, self.expected, self.got = partition, expected, got


class TopicRecreated(StopTheLine):
    """A topic is not the one that was read: it was deleted and made again, and its offsets mean other records now."""

    def __init__(self, topic: str, seen: str) -> None:
        super().__init__(
            f"topic {topic} was deleted and made again ({seen}): what was read of it cannot go on; begin anew with "
            "`asmg worker --new-run`"
        )
        self.topic, self.seen = topic, seen


class GroupInUse(StopTheLine):
    """A consumer group has members, so that its offsets cannot be set."""

    def __init__(self, group: str, members: Iterable[str] = ()) -> None:
        named = f" ({', '.join(sorted(members))})" if members else ""
        super().__init__(
            f"consumer group {group} has active members{named}: another worker of this model runs; end it, then begin "
            "the new run"
        )
        self.group = group


class NewerRun(StopTheLine):
    """Another worker has begun a new run on the same topics; this state directory belongs to the run before."""

    def __init__(self, newer: str, own: str) -> None:
        before = f"run {own}" if own else "the run before"
        super().__init__(
            f"run {newer} has begun on the segments topic, and this state directory belongs to {before}: use that of "
            "the newer run (an empty one is filled from the topic), or begin yet another with `asmg worker --new-run`"
        )
        self.newer, self.own = newer, own


class StoreCorrupted(StopTheLine):
    """What was read back from disk is not what was written. Both databases can be made anew from what came before."""

    REMEDY = (
        "move this directory away and start again: a journal is read again from the segments topic, a store is learned "
        "again from the journal (in a replay: from the recording)"
    )

    def __init__(self, problem: str, remedy: str = REMEDY) -> None:
        super().__init__(f"{problem}; {remedy}")


class DiskRefuses(StopTheLine):
    """The disk does not take what must be written; what it took before is whole, and starting again goes on from it."""

    ROOM = "make room there (space, quota or the limit on file sizes) and start again: nothing is lost"
    RIGHT = "give this user the right to it, or name another directory, and start again"

    def __init__(self, path: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")
        self.path, self.problem, self.remedy = str(path), problem, remedy


class StoreLocked(StopTheLine):
    """Another process has the database open for writing."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(
            f"{path}: the database is open in another process; stop that process, or give this one a state directory "
            "of its own (state_directory)"
        )
        self.path = str(path)


class CacheInUse(StopTheLine):
    """Another process writes the cache; what it serves is unchanged."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(
            f"{path}: another process writes this cache; end it, or give this one a directory of its own (--cache)"
        )
        self.path = str(path)


class AccessDenied(StopTheLine):
    """The broker and we do not trust each other, or it does not let us do what is needed: somebody must change that.

    resource: what it is about, as in "topic interactions"; "" when we were not let in at all.
    """

    def __init__(self, problem: str, remedy: str, resource: str = "") -> None:
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem, self.remedy, self.resource = problem, remedy, resource


class Fenced(StopTheLine):
    """The broker refuses this publisher: another one has been opened after it."""

    def __init__(self, place: str, epoch: int) -> None:
        super().__init__(f"{place}: another publisher was opened after ours (epoch {epoch}); what it had begun is void")
        self.place, self.epoch = place, epoch


class IncompatibleState(StopTheLine):
    """The state directory was made by a format or by settings that do not fit this program."""


class VersionsDamaged(StopTheLine):
    """Versions in `place` are not what they say. Nothing was written; no subscriber serves one that it finds so."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(
            f"{place}: {problem}; subscribers do not serve it: publish a newer one, or restore what was there"
        )
        self.place, self.problem = place, problem


class Unavailable(AsmgError):
    """A broker or topic cannot be reached in time. Nothing was lost; try again when it is back."""

    exit_code = 4


class StaleModel(Unavailable):
    """What is served is older than `stale_after`, and `when_stale = "refuse"` says not to serve that.

    Nothing is lost: it serves again with the next version that is young enough, or once one is pinned.
    """

    def __init__(self, version: int, age: float) -> None:
        super().__init__(
            f"version {version} was sent {age:.0f} s ago, longer than stale_after allows; see why no newer one comes: "
            "health().trouble, asmg status"
        )
        self.version, self.age = version, age


class TopicMissing(Unavailable):
    """A broker answers, and has no topic of that name: make it, or correct its name in the settings."""


class BadRecord(AsmgError):
    """One record from outside is not a valid interaction. It is answered by the dead-letter topic."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason, self.field = reason, field


class DamagedLetter(AsmgError):
    """A message of the dead-letter topic that is no dead letter. It is told and passed over, and ends no command."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"no dead letter: {problem}")
        self.problem = problem


class VersionRejected(AsmgError):
    """A model version from the topic is not served; the subscriber keeps the one it has."""

    def __init__(self, version: int | None, problem: str) -> None:
        super().__init__(f"version {version}: {problem}" if version is not None else problem)
        self.version, self.problem = version, problem


class DigestMismatch(VersionRejected):
    """Bytes are not those that the manifest names."""


class SchemaMismatch(VersionRejected):
    """The manifest has an unknown format, or names tensors that do not fit each other."""


class StaleEpoch(VersionRejected):
    """A publisher that has been replaced still speaks."""


class BadSignature(VersionRejected):
    """A list of keys is set, and none of them has signed it: somebody else sent it, or the list lacks a new key."""


class WarmUpFailed(VersionRejected):
    """What the serving process does with a version before it serves has failed; the cause is its `__cause__`."""


class VersionGap(VersionRejected):
    """Chunks of the version are missing (for instance because compaction took them)."""


_REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), DiskRefuses.ROOM) | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), DiskRefuses.RIGHT
)


def disk_refusal(path: str | Path, problem: str | None) -> DiskRefuses | None:
    """The answer to what the system, or a library in its words, says of writing to `path`; None for other problems."""
    said = problem or ""
    found = (remedy for number, remedy in _REMEDIES.items() if os.strerror(number) in said)
    remedy = next(found, None)
    return None if remedy is None else DiskRefuses(path, said, remedy)


@contextmanager
def on_disk(path: str | Path) -> Iterator[None]:
    """What is done in here writes to `path` or below. Raises DiskRefuses when the disk does not take it."""
    try:
        yield
    except OSError as error:
        refusal = disk_refusal(error.filename or path, error.strerror or str(error))
        if refusal is None:
            raise
        raise refusal from error
