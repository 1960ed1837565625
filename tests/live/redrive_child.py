"""A redrive that is killed: `redrive_child.py SETTINGS CALL N` sends itself SIGKILL around the n-th call of CALL.

SETTINGS: bootstrap, model and the names of the four topics, separated by commas. CALL: "send", "commit" (before it) or
"committed" (after it). What was sent before lies on the topics by then, uncommitted.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

from stream_app.broker import KafkaSettings
from stream_app.dead_letters import redrive
from stream_app.live.cluster.topics import TopicSettings
from stream_app.live.worker_settings import WorkerSettings


def main(given: str, call: str, number: int) -> None:
    bootstrap, model, *names = given.split(",")
    settings = WorkerSettings(model, Path("unused"), KafkaSettings(bootstrap), TopicSettings(*names))
    method = "send" if call == "send" else "commit_transaction"
    plain, calls = getattr(KafkaProducer, method), 0

    def deadly(producer: KafkaProducer, *arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and call != "committed":
            producer.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        answer = plain(producer, *arguments, **more)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(KafkaProducer, method, deadly)
    redrive._LETTERS = 3
    with redrive.Redrive(settings, redrive.Wanted()) as going:
        list(going.run())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
