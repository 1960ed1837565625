"""What every result file says of the machine it was measured on, and how a result is written."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, Any]:
    """Processor, memory, versions: what a ratio depends on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    packages = ("torch", "numpy", "faust-streaming", "aiokafka", "kafka-python", "rocksdict")
    return {
        "processor": model,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "date": date.today().isoformat(),
    }


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write `benchmarks/results/<name>.json` and print what it says."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": describe(), **result}, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return path


def recordings() -> Path:
    """The folder of the real recordings. Raises SystemExit with the remedy when it is not set."""
    folder = os.environ.get("ASMG_RECORDINGS")
    if not folder or not Path(folder).is_dir():
        raise SystemExit("set ASMG_RECORDINGS to the folder that holds yelp2019.parquet and the other recordings")
    return Path(folder)
