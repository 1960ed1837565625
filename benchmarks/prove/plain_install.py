"""A wheel of this tree, installed by pip into an environment of its own: it subscribes and serves, and starts quickly.

No torch, Faust or RocksDB is there, and the working directory has a `models.py` of somebody else, which is not touched.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.local_broker import LocalBroker
from benchmarks.swapping_publisher import ITEM_IDS, USER_IDS, Request, expected, parameters, version
from stream_app.broker import KafkaSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.versions.manifest import Envelope

ROOT = Path(__file__).parents[2]
TOPIC, VERSIONS, STARTS = "asmg-models", 3, 5
FOREIGN = "raise SystemExit('somebody else\\'s models.py was imported')\n"
IMPORT = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"
SERVING, FLOOR = "stream_app.subscriber", "numpy, msgpack, pydantic.main"


def run() -> dict[str, Any]:
    """Build, install, serve; then start Python again and again."""
    with tempfile.TemporaryDirectory() as temporary, LocalBroker(Path(temporary, "broker")) as broker:
        folder = Path(temporary)
        python = installed(folder)
        place = folder / "somebody"
        place.mkdir()
        (place / "models.py").write_text(FOREIGN)
        (place / "asmg.toml").write_text(f"[kafka]\nbootstrap = '{broker.bootstrap}'\n")
        expect = published(broker.bootstrap)
        served = serving(python, place, broker.bootstrap)
        said = ran(python.with_name("asmg"), "subscribe", "--until", VERSIONS, "--for", 60, "--json", where=place)
        packages = [package["name"] for package in json.loads(ran(python, "-m", "pip", "list", "--format", "json"))]
        seconds = {module: imported(python, module, place) for module in (FLOOR, SERVING)}
    difference = float(np.abs(np.asarray(served["probabilities"]) - expect).max())
    own = served["stream_app"].startswith(str(folder)) and served["models"] == str(place / "models.py")
    return {
        **{"packages": packages, "largest_difference": difference, "import_seconds": seconds},
        "bounds": {
            "the installed package serves beside a foreign models.py": own and not served["models_loaded"],
            "no package of a worker is there": served["workers_packages"] == [],
            "scores are those of the newest version": served["version"] == VERSIONS and difference <= 1e-6,
            "asmg subscribe serves it, too": json.loads(said.splitlines()[-1])["version"] == VERSIONS,
            "import <= 0.3 s": seconds[SERVING]["median"] <= 0.3,
        },
    }


def installed(folder: Path) -> Path:
    """The Python of a new environment with a wheel of what is committed, and what that needs."""
    tree = folder / "tree"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tree)], check=True)
    ran(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, tree)
    shutil.rmtree(tree)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "environment", with_pip=True)
    python = folder / "environment" / "bin" / "python"
    ran(python, "-m", "pip", "install", "--quiet", wheel)
    return python


def published(bootstrap: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Publish some versions; what the last answers to the request of `serving`, by arithmetic that is not ours."""
    sink, parent, arrays = KafkaSink(KafkaSettings(bootstrap), TOPIC), "", parameters(VERSIONS)
    create(bootstrap)
    sink.open()
    for number in range(1, VERSIONS + 1):
        made = version(number, parent, parameters(number))
        sink.write(made, Envelope(model="default"))
        parent = made.digest
    sink.close()
    return expected(arrays, Request(0, np.arange(5), np.arange(5)))


def create(bootstrap: str) -> None:
    """The topic of the versions."""
    from kafka import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()


def serving(python: Path, place: Path, bootstrap: str) -> dict[str, Any]:
    """What the serving process says; its script lies beside the foreign module, so that this comes first."""
    script = place / "plain_serving.py"
    shutil.copy(ROOT / "benchmarks" / script.name, script)
    asked = [str(USER_IDS[0]), *map(str, ITEM_IDS[:5])]
    said: dict[str, Any] = json.loads(ran(python, script, bootstrap, TOPIC, VERSIONS, *asked, where=place))
    return said


def imported(python: Path, module: str, place: Path) -> dict[str, float]:
    """Seconds that an import takes in fresh interpreters, the files being in memory."""
    taken = [float(ran(python, "-P", "-c", IMPORT.format(module), where=place)) for _ in range(STARTS + 1)][1:]
    return {"median": round(statistics.median(taken), 3), "least": round(min(taken), 3)}


def ran(*command: object, where: Path | None = None) -> str:
    """What a command prints, without what this process adds to the paths of Python. Raises CalledProcessError."""
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True, cwd=where, env=plain)
    return done.stdout
