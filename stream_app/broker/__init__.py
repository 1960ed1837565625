"""How to reach the Kafka cluster, how to come in, what we may do there, and a quick, honest answer when it fails."""

from stream_app.broker.preflight import preflight, reach
from stream_app.broker.settings import KafkaSettings

__all__ = ["KafkaSettings", "preflight", "reach"]
