"""Where versions are published to and read from: both ends of a place in one file."""

from stream_app.sinks.directory import DirectorySink
from stream_app.sinks.kafka import KafkaSink

AnySink = DirectorySink | KafkaSink

__all__ = ["AnySink", "DirectorySink", "KafkaSink"]
