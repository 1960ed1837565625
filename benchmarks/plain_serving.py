"""What a serving process does, for the proof `plain_install`: run by a Python that has the plain install alone.

    python plain_serving.py BOOTSTRAP TOPIC VERSION USER ITEM...

Scores the items, which are the history, too; prints that and where modules come from, as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import sys

from stream_app.broker import KafkaSettings
from stream_app.subscriber import ModelSubscriber, SubscriberSettings

WORKERS = ("torch", "faust", "rocksdict", "aiokafka", "pyarrow", "msgspec", "prometheus_client")


def main(bootstrap: str, topic: str, version: str, user: str, *items: str) -> None:
    """Subscribe, wait, score."""
    with ModelSubscriber(SubscriberSettings(KafkaSettings(bootstrap), topic)) as subscriber:
        model = subscriber.wait(timeout=60, version=int(version))
        ids = [int(item) for item in items]
        probabilities = model.score(int(user), ids, ids)
    said = {
        "version": model.version.number,
        "probabilities": probabilities.tolist(),
        "workers_packages": [name for name in WORKERS if origin(name)],
        "models": origin("models"),
        "models_loaded": "models" in sys.modules,
        "stream_app": origin("stream_app"),
    }
    print(json.dumps(said))


def origin(module: str) -> str:
    """The file of a module, which is not imported for that; "" where there is none."""
    found = importlib.util.find_spec(module)
    return found.origin or "" if found else ""


if __name__ == "__main__":
    main(*sys.argv[1:])
