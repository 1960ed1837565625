"""The library of the serving process: always one complete, verified model version, swapped when a newer one is there.

    with ModelSubscriber(SubscriberSettings(KafkaSettings("localhost:9092"), topic="asmg-models")) as subscriber:
        subscriber.wait(timeout=60)
        ...
        model = subscriber.model                      # once a request: everything in it is of one version
        probabilities = model.score(user, items, history)

Histories that are as fresh as the stream: `stream_app.subscriber.histories`.

Needs numpy, msgpack, pydantic and, to follow a topic, kafka-python; nothing else, unless it is given something else to
compute with (`serving`). For asyncio: `stream_app.subscriber.aio`, which is imported only where it is used.
"""

from stream_app.errors import StaleModel
from stream_app.subscriber.health import Health
from stream_app.subscriber.settings import SubscriberSettings
from stream_app.subscriber.subscriber import ModelSubscriber

__all__ = ["Health", "ModelSubscriber", "StaleModel", "SubscriberSettings"]
