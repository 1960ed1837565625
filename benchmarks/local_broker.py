"""The local brokers for benchmarks: those of `deploy/kafka-local`, which are scripts and no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy" / "kafka-local"))

from broker import LocalBroker
from secured import SecuredBroker

__all__ = ["LocalBroker", "SecuredBroker"]
