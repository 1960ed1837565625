"""The local broker for benchmarks: `deploy/kafka-local/broker.py`, which is a script and no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy" / "kafka-local"))

from broker import LocalBroker

__all__ = ["LocalBroker"]
