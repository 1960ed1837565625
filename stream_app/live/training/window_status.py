"""Who has the window: the worker whose window process reads the segments topic is the active one, the others stand by.

The window process notes in a small file what Kafka gave it and took from it, and its trainer looks there. After a
pause (a stopped process, an outage) that file may be older than the truth for a moment, so the broker is asked before
a publisher fences the one before it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import reach
from stream_app.errors import StopTheLine, Unavailable, disk_refusal
from stream_app.telemetry import utc, wall_clock

WINDOW = "window.json"


@dataclass(frozen=True)
class WindowStatus:
    """assigned: whether Kafka has given the segments topic to this worker's window, `since` (UTC); process: its id."""

    assigned: bool = False
    since: str = ""
    process: int = 0

    @property
    def active(self) -> bool:
        """Whether this worker trains and publishes: the window is assigned to a process that is there."""
        return self.assigned and is_there(self.process)


def is_there(process: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0


def note_window(directory: Path, assigned: bool) -> None:
    """Called by the window process at its start, and at every assignment and revocation.

    Raises StopTheLine when it cannot be written.
    """
    path = directory / WINDOW
    try:
        directory.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        text = json.dumps(asdict(WindowStatus(assigned, utc(wall_clock()), os.getpid())))
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        other = StopTheLine(f"{path}: cannot be written ({error.strerror}); mend the disk (state_directory)")
        raise disk_refusal(path, error.strerror) or other from error


def read_window(directory: Path) -> WindowStatus:
    """What the window process last noted; not assigned where it never did."""
    try:
        return WindowStatus(**json.loads((directory / WINDOW).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return WindowStatus()


def confirm_window(kafka: KafkaSettings, group: str, member: str) -> None:
    """Returns when the broker says that `member` (a static member id) of the consumer group has the window.

    Raises Unavailable when it does not: another worker has it, nobody has it yet, or there is no answer.
    """
    reach(kafka)
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(**kafka.kafka_python())
        try:
            described = admin.describe_groups([group])[group]
        finally:
            admin.close()
    except (KafkaError, OSError) as error:
        raise Unavailable(f"consumer group {group} at {kafka.bootstrap}: {type(error).__name__}: {error}") from error
    owners = [
        one["group_instance_id"] or one["member_id"]
        for one in described["members"]
        if one["member_assignment"] and one["member_assignment"]["assigned_partitions"]
    ]
    if described["group_state"] != "Stable" or owners != [member]:
        raise Unavailable(
            f"the broker does not say that the window is ours: group {group} is {described['group_state']}, "
            f"the window is with {', '.join(owners) or 'nobody'}, we are {member}"
        )
