"""docker-compose.yml and the Dockerfile: no engine is needed to see that they fit each other and the command line."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_app.cli.main import parser
from stream_app.settings.complete import Settings
from stream_app.settings.load import load

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_every_command_is_one_that_asmg_has(services: dict[str, Any]) -> None:
    for name in ("topics", "worker"):
        parser().parse_args(shlex.split(services[name]["command"]))
    assert services["worker"]["healthcheck"]["test"][:2] == ["CMD", "asmg"]
    parser().parse_args(services["worker"]["healthcheck"]["test"][2:])


def test_the_environment_of_the_worker_is_made_of_settings(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in services["worker"]["environment"].items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("ASMG_CONFIG", str(ROOT / "deploy" / "asmg.toml"))
    worker = load(Settings).worker()
    assert worker.kafka.bootstrap == "kafka:19092"
    assert worker.state_directory == Path("/var/lib/asmg")


def test_what_is_mounted_and_copied_is_there(services: dict[str, Any]) -> None:
    assert (ROOT / services["worker"]["build"]["dockerfile"]).is_file()
    mounted = [volume.split(":")[0] for volume in services["worker"]["volumes"] if volume.startswith("./")]
    copied = [
        source
        for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY")
        for source in line.split()[1:-1]
    ]
    assert all((ROOT / path).exists() for path in [*mounted, *copied])


def test_the_broker_is_the_release_that_tests_and_demo_run(services: dict[str, Any]) -> None:
    release = services["kafka"]["image"].split(":")[1]
    assert f'KAFKA = "{release}"' in (ROOT / "deploy" / "kafka-local" / "broker.py").read_text()


def test_an_engine_that_is_there_finds_the_file_right() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        return
    command = ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    subprocess.run(command, check=True, env=os.environ)
