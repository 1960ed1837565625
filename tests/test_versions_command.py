"""`asmg versions verify|diff|export`: one answer from a topic, a directory and a store; a plain install suffices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from key_pairs import Pair
from replay_helpers import SETTINGS, stream, write
from simulators import chain, envelope, tiny_version

from stream_app.broker import KafkaSettings
from stream_app.cli.main import WORKER_PACKAGES, main
from stream_app.replay import replay
from stream_app.sinks.directory import DirectorySink
from stream_app.sinks.kafka import KafkaSink
from stream_app.versions.manifest import Envelope
from stream_app.versions.signing import Signer
from stream_app.versions.tensors import DTYPES

CHAIN = chain(3)


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of three versions, beside which a test may write."""
    monkeypatch.chdir(tmp_path)
    return directory_of(tmp_path / "versions")


def directory_of(path: Path) -> Path:
    sink = DirectorySink(path)
    sink.open()
    for version in CHAIN:
        sink.write(version, envelope())
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What the command prints as JSON."""
    assert main(["versions", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """The one line on stderr."""
    assert main(["versions", *arguments]) == code
    line = capsys.readouterr().err
    assert line.count("\n") == 1, line
    return line


def read_by_hand(path: Path) -> dict[str, Any]:
    """A safetensors file by the rules of its README, whoever has written it: without holes, and all of it used."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    described = json.loads(data[8 : 8 + length], object_pairs_hook=lambda pairs: _each_once(pairs))
    tensors, end = {}, 0
    for name, entry in sorted(described.items(), key=lambda pair: pair[1]["data_offsets"]):
        assert entry["data_offsets"][0] == end
        end = entry["data_offsets"][1]
        raw = data[8 + length :][entry["data_offsets"][0] : end]
        tensors[name] = np.frombuffer(raw, DTYPES[entry["dtype"]]).reshape(entry["shape"])
    assert len(data) == 8 + length + end
    assert data[8:9] == b"{"
    return tensors


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# -- verify -----------------------------------------------------------------------------------------------------------


def test_verify_says_of_each_version_that_it_is_what_it_says(
    versions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = said(capsys, "verify", "--directory", str(versions))["versions"]
    assert [(row["version"], row["digest"], row["problems"]) for row in rows] == [
        (version.number, version.digest, []) for version in CHAIN
    ]
    assert main(["versions", "verify", "--directory", str(versions)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["version", str(version.number), "sound", version.digest[:12]] for version in CHAIN
    ]


@pytest.mark.parametrize("damage", ["a bit", "a byte more", "cut", "no tensors", "no manifest"])
def test_verify_ends_with_3_and_says_which_version_is_damaged(
    versions: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    tensors, manifest = versions / "000002" / "model.safetensors", versions / "000002" / "manifest.msgpack"
    data = tensors.read_bytes()
    damaged = {"a bit": data[:-9] + bytes([data[-9] ^ 4]) + data[-8:], "a byte more": data + b"\0", "cut": data[:-1]}
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "no tensors":
        tensors.unlink()
    else:
        tensors.write_bytes(damaged[damage])
    assert main(["versions", "verify", "--directory", str(versions)]) == 3
    answer = capsys.readouterr()
    assert "not what it says: version 2;" in answer.err
    assert [line.split()[2] for line in sorted(answer.out.splitlines())] == ["sound", "WRONG", "sound"]


def test_verify_judges_signatures_by_the_keys_of_the_subscriber(
    versions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, sink = Pair(tmp_path, "ours"), DirectorySink(tmp_path / "signed")
    sink.open()
    sink.write(CHAIN[0], Signer(str(pair.private)).signed(CHAIN[0].content_bytes, envelope(epoch=1)))
    keys = ("--set", f'subscriber.keys=["{pair.public}"]')
    assert main(["versions", "verify", "--directory", str(sink.path), *keys]) == 0
    assert "signed by " in capsys.readouterr().out
    assert main(["versions", "verify", "--directory", str(versions), *keys]) == 3
    assert "is not signed" in capsys.readouterr().out


def test_a_cache_is_verified_folder_by_folder(
    versions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    other = DirectorySink(tmp_path / "other")
    other.open()
    other.write(tiny_version(2, "ab" * 32, seed=9), envelope(run="second"))
    (versions / "000002").rename(cache / f"000002-{CHAIN[1].digest[:16]}")
    (tmp_path / "other" / "000002").rename(cache / "000002-0123456789abcdef")
    (cache / ".writing-000003").mkdir()
    (cache / "current").write_bytes(b"")
    (cache / "000002-0123456789abcdef" / "derived.safetensors").write_bytes(b"more files may lie there")
    rows = said(capsys, "verify", "--directory", str(cache))["versions"]
    assert [(row["run"], row["version"], row["problems"]) for row in rows] == [("first", 2, []), ("second", 2, [])]


def test_an_empty_place_has_none_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions", "verify", "--directory", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "none yet\n"
    assert "is no directory" in refusal(capsys, 2, "verify", "--directory", str(tmp_path / "gone"))


# -- diff -------------------------------------------------------------------------------------------------------------


def test_diff_says_what_became_of_a_version(versions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "diff", "1", "3", "--directory", str(versions))
    assert found["versions"] == [1, 3]
    assert found["identity"]["digest"] == [CHAIN[0].digest, CHAIN[2].digest]
    assert found["identity"]["period number"] == [1, 3]
    assert (found["settings"], found["metrics"]) == ({}, {})
    assert found["vocabularies"]["users"] == {"before": 3, "after": 3, "new": 0, "gone": 0, "continues": True}
    first, second = (CHAIN[n].tensors["parameters.w1"].astype(np.float64) for n in (0, 2))
    largest = max(abs(a - b) for a, b in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    w1 = found["tensors"]["parameters.w1"]
    assert (w1["rows"], w1["changed"], w1["largest"]) == (24, 24, largest)
    assert main(["versions", "diff", "1", "3", "--directory", str(versions)]) == 0
    assert "parameters.w1" in capsys.readouterr().out


def test_diff_names_settings_method_and_metrics_that_are_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learning = {"settings_digest": "1" * 64, "method": "row-statistics", "base_model": "embedding-mlp"}
    metrics = {"iu": {"auc": 0.5, "log_loss": 0.25}, "row-statistics": {"auc": 0.875}}
    sink = DirectorySink(tmp_path)
    sink.open()
    sink.write(CHAIN[0], envelope())
    sink.write(tiny_version(2, CHAIN[0].digest, learning=learning, metrics=metrics), envelope())
    found = said(capsys, "diff", "1", "2", "--directory", str(tmp_path))
    assert found["settings"] == {"method": ["iu", "row-statistics"], "settings_digest": ["0" * 64, "1" * 64]}
    assert found["metrics"] == {
        "iu auc": [0.75, 0.5],
        "iu log_loss": [None, 0.25],
        "row-statistics auc": [None, 0.875],
    }
    assert main(["versions", "diff", "1", "2", "--directory", str(tmp_path)]) == 0
    assert "row-statistics auc  None       0.875" in capsys.readouterr().out


def test_a_version_that_is_not_there_is_named_with_those_that_are(
    versions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (("diff", "1", "7"), ("export", "7", "--out", "out")):
        line = refusal(capsys, 2, *command, "--directory", str(versions))
        assert "has no version 7; there are: 1, 2, 3" in line
    assert not Path("out").exists()


def test_what_is_damaged_is_neither_compared_nor_exported(versions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = versions / "000002" / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    for command in (("diff", "1", "2"), ("export", "2", "--out", "out")):
        assert "version 2: chunk 10 is missing or not the one" in refusal(
            capsys, 3, *command, "--directory", str(versions)
        )
    assert not Path("out").exists()


# -- export -----------------------------------------------------------------------------------------------------------


def test_an_export_is_read_by_the_rules_of_safetensors_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, sink = Pair(tmp_path, "ours"), DirectorySink(tmp_path / "versions")
    learning = {"method": "iu", "base_model": "embedding-mlp", "odd": float("nan")}
    version = tiny_version(users=("ä", "b"), items=(5, 6), categories=((), (1, 3)), learning=learning)
    sink.open()
    sent = Signer(str(pair.private)).signed(version.content_bytes, envelope(epoch=1))
    sink.write(version, sent)
    out = tmp_path / "some" / "out"
    assert main(["versions", "export", "1", "--out", str(out), "--directory", str(sink.path)]) == 0
    assert version.digest in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "model.safetensors"]
    tensors = read_by_hand(out / "model.safetensors")
    assert tensors.keys() == version.tensors.keys()
    for name, array in version.tensors.items():
        np.testing.assert_array_equal(tensors[name], array)
        assert tensors[name].dtype == array.dtype
    manifest = json.loads((out / "manifest.json").read_text(), parse_constant=pytest.fail)
    assert manifest["digest"] == version.digest
    assert (manifest["content"]["format"], manifest["content"]["vocabulary"]["categories"]) == (2, "string")
    assert (manifest["content"]["metrics"]["iu"]["auc"], manifest["content"]["learning"]["odd"]) == (0.75, None)
    assert manifest["envelope"]["signature"] == (sent.signature or b"").hex()
    assert manifest["envelope"]["source_offsets"] == {"0": 12, "3": 7}


def test_an_export_overwrites_nothing_and_leaves_nothing_half_done(
    versions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".writing-empty").mkdir()  # what a killed export left
    for out in ("full", "file"):
        line = refusal(capsys, 2, "export", "1", "--out", out, "--directory", str(versions))
        assert "is there already" in line
    assert main(["versions", "export", "1", "--out", "empty", "--directory", str(versions)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full", "versions"]
    assert (tmp_path / "full" / "mine").read_text() == "mine"


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.broker
def test_a_topic_gives_the_same_answers(
    broker: str, model_topic: str, versions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = KafkaSink(KafkaSettings(broker, transactional_id=model_topic), model_topic)
    sink.open()
    sink.announce("pretraining 1/2")
    for version in CHAIN:
        sink.write(version, Envelope(model="default", run="first"))
    sink.close()
    topic = ("--set", f"kafka.bootstrap={broker}", "--set", f"topics.models={model_topic}")
    rows = said(capsys, "verify", *topic)["versions"]
    assert [(row["version"], row["digest"], row["epoch"], row["problems"]) for row in rows] == [
        (version.number, version.digest, 1, []) for version in CHAIN
    ]
    assert said(capsys, "verify", *topic)["control"] is None
    differences = said(capsys, "diff", "1", "2", *topic)
    assert differences == said(capsys, "diff", "1", "2", "--directory", str(versions))
    for place, out in ((topic, "of-topic"), (("--directory", str(versions)), "of-directory")):
        assert main(["versions", "export", "2", "--out", out, *place]) == 0
    one, other = (Path(out, "model.safetensors").read_bytes() for out in ("of-topic", "of-directory"))
    assert one == other
    assert "has no version 9; there are: 1, 2, 3" in refusal(capsys, 2, "diff", "1", "9", *topic)


@pytest.mark.broker
def test_a_signed_topic_with_a_pin_is_verified_as_a_whole(
    broker: str, model_topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = Pair(tmp_path, "ours")
    kafka = KafkaSettings(broker, transactional_id=model_topic)
    topic = [f"kafka.bootstrap={broker}", f"topics.models={model_topic}", f"kafka.transactional_id={model_topic}"]
    settings = [flag for one in (*topic, f"subscriber.keys={pair.public}") for flag in ("--set", one)]
    sink = KafkaSink(kafka, model_topic, signer=Signer(str(pair.private)))
    sink.open()
    for version in CHAIN[:2]:
        sink.write(version, envelope())
    sink.close()
    assert main(["versions", "pin", "1", *settings, "--set", f"publish.signing_key={pair.private}"]) == 0
    capsys.readouterr()
    control = said(capsys, "verify", *settings)["control"]
    assert (control["pinned"], control["digest"], control["problems"]) == (1, CHAIN[0].digest, [])
    assert main(["versions", "verify", *settings]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["version", "1"], ["version", "2"], ["control", "sound"]]
    assert all("signed by " in line for line in lines)

    other = Pair(tmp_path, "other")
    settings[-1] = f"subscriber.keys={other.base64}"
    assert "not what it says: version 1, version 2, the control record;" in refusal(capsys, 3, "verify", *settings)


def test_a_store_gives_the_same_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    list(replay(write(tmp_path / "stream.parquet", stream()), SETTINGS, out))
    state, directory = ("--state", str(out)), ("--directory", str(out / "versions"))
    keys = ("--set", f"subscriber.keys=['{Pair(tmp_path, 'unused').base64}']")  # what a store holds was never sent
    of_state, of_directory = (said(capsys, "verify", *place)["versions"] for place in ((*state, *keys), directory))
    assert len(of_state) == 5
    assert [row["digest"] for row in of_state] == [row["digest"] for row in of_directory]
    assert [row["problems"] for row in (*of_state, *of_directory)] == [[]] * 10
    one, other = (said(capsys, "diff", "2", "5", *place) for place in (state, directory))
    assert (one["tensors"], one["vocabularies"]) == (other["tensors"], other["vocabularies"])
    assert one["vocabularies"]["users"]["continues"]
    assert main(["versions", "export", "5", "--out", str(tmp_path / "exported"), *state]) == 0
    exported, written = tmp_path / "exported" / "model.safetensors", out / "versions" / "000005" / "model.safetensors"
    assert exported.read_bytes() == written.read_bytes()


def test_a_plain_install_suffices_but_for_a_store(versions: Path) -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({WORKER_PACKAGES}))  # importing one of them now fails as if it were not installed
from stream_app.cli.main import main
directory = ["--directory", {str(versions)!r}]
sys.exit(sum(main(["versions", *given]) for given in (
    ["verify", *directory], ["diff", "1", "2", *directory], ["export", "1", "--out", "out", *directory])))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert Path("out", "model.safetensors").exists()
