"""Runs every proof, or those named: `python -m benchmarks.prove [quality ...]`. Exits 1 when a bound is missed."""

from __future__ import annotations

import importlib
import sys
import time

from benchmarks.machine import write_result

PROOFS = (
    *("exactness", "no_leak", "errors", "transport", "subscriber_scores", "quality", "bars", "audience"),
    *("method_costs", "ablation", "regret", "histories"),
    *("kafka_equals_replay", "kafka_disorder", "malformed", "ingestion"),
    *("kills", "fencing", "disk", "security", "begin", "lies", "compaction", "fresh_clone"),
    *("serving_latency", "cache_memory", "swaps", "big_model", "plain_install", "http_load"),
)


def main() -> None:
    """Run the proofs in turn; a missed bound does not keep the others from running."""
    names = sys.argv[1:] or PROOFS
    missed = []
    for name in names:
        print(f"== {name}", flush=True)
        begin = time.perf_counter()
        result = importlib.import_module(f"benchmarks.prove.{name}").run()
        result["seconds"] = round(time.perf_counter() - begin, 1)
        write_result(name, result)
        missed += [f"{name}: {text}" for text, met in result["bounds"].items() if not met]
    for text in missed:
        print(f"MISSED {text}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
