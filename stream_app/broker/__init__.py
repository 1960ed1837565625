"""How to reach the Kafka cluster, how to come in, what we may do there, and a quick, honest answer when it fails.

`preflight.py` asks it; a serving process that needs no broker imports the settings alone.
"""

from stream_app.broker.settings import KafkaSettings

__all__ = ["KafkaSettings"]
