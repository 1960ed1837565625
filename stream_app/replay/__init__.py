"""Replay: a recorded stream through the same pipeline as live, without Kafka.

from stream_app.replay import ReplaySettings, replay

for result in replay(Path("stream.parquet"), ReplaySettings(periods=EqualCount(count=10_000)), Path("run")):
    print(result.period, result.candidates)
"""

from stream_app.replay.driver import ReplaySettings, replay
from stream_app.replay.results import PeriodResult

__all__ = ["PeriodResult", "ReplaySettings", "replay"]
