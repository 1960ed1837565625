"""A publisher with a key: all that it sends carries its signature, whatever the epoch; or it does not start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from key_pairs import Pair
from simulators import chain, envelope

from stream_app.broker import KafkaSettings
from stream_app.cli.main import main
from stream_app.errors import SettingsError
from stream_app.live.cluster.checks import of_keys
from stream_app.live.cluster.roles import ROLES, Role
from stream_app.settings.load import load
from stream_app.settings.serving import ServingSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.sinks.publish_settings import PublishSettings
from stream_app.versions.audit import audited
from stream_app.versions.signing import Keys, Signer
from stream_app.versions.stock import stock_of

CHAIN = chain(3)


@pytest.mark.broker
def test_what_is_sent_is_signed_with_its_epoch_also_by_the_publisher_that_takes_over(
    broker: str, model_topic: str, tmp_path: Path
) -> None:
    pair, kafka = Pair(tmp_path, "ours"), KafkaSettings(broker, transactional_id=model_topic)
    signer = PublishSettings(signing_key=str(pair.private)).signer()
    for version in CHAIN:
        sink = KafkaSink(kafka, model_topic, signer=signer)
        sink.open()
        sink.write(version, envelope(epoch=0))
        sink.close()
    keys = Keys.of([pair.base64])
    assert keys is not None
    findings = audited(stock_of(KafkaSink(kafka, model_topic).read()), "default", keys)
    assert [(one.version, one.problems) for one in findings] == [(1, ()), (2, ()), (3, ())]
    assert [one.manifest.envelope.epoch for one in findings if one.manifest] == [1, 2, 3]


@pytest.mark.parametrize("command", ["worker", "config check"])
def test_without_its_key_nothing_is_started_and_the_file_is_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    key, nobody = ("--set", "publish.signing_key=gone.pem"), ("--set", "kafka.bootstrap=127.0.0.1:1")
    assert main([*command.split(), *key, *nobody]) == 2
    said = capsys.readouterr()
    assert "setting publish.signing_key: gone.pem is no file that can be read" in said.err + said.out
    assert list(tmp_path.iterdir()) == []


def test_a_check_looks_at_the_keys_that_a_role_needs(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "ours")
    publish, keys = PublishSettings(signing_key=str(pair.private)), ["gone.pem"]
    looks: dict[Role, list[tuple[str, str]]] = {
        role: [(one.name, one.result) for one in of_keys(role, publish, keys)] for role in ROLES
    }
    assert looks == {
        "worker": [("signing key", "ok")],
        "subscriber": [("keys", "problem")],
        "histories": [],
        "producer": [],
        "operator": [("signing key", "ok"), ("keys", "problem")],
    }
    assert [list(of_keys(role, PublishSettings(), ())) for role in ROLES] == [[]] * len(ROLES)


def test_several_keys_may_be_written_as_one_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(ServingSettings, {"subscriber": {"keys": "a.pem, b.pem"}}).subscription().keys == ("a.pem", "b.pem")
    monkeypatch.setenv("ASMG_SUBSCRIBER__KEYS", "")
    assert load(ServingSettings).subscription().keys == ()


def test_a_key_that_was_pasted_into_the_settings_is_shown_by_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pem = Pair(tmp_path, "ours").private.read_text()
    body = pem.splitlines()[1]
    Path("asmg.toml").write_text(f'[publish]\nsigning_key = """{pem}"""\n')
    for command in ("worker", "config show", "config show --origin", "config check", "topics print"):
        main(command.split())
    Path("asmg.toml").write_text(f'[publish]\nsigning_key = ["""{pem}"""]\n')
    assert main(["config", "show"]) == 2
    said = capsys.readouterr()
    assert "publish.signing_key" in said.err
    assert "***" in said.out
    assert body[:12] not in json.dumps(said)


@pytest.mark.broker
def test_without_its_key_nothing_is_sent_unsigned_and_with_it_again_the_version_goes_out(
    broker: str, model_topic: str, tmp_path: Path
) -> None:
    pair = Pair(tmp_path, "ours")
    sink = KafkaSink(KafkaSettings(broker, transactional_id=model_topic), model_topic, signer=Signer(str(pair.private)))
    sink.open()
    pair.private.rename(tmp_path / "away.pem")
    with pytest.raises(SettingsError, match=r"ours\.pem is no file"):
        sink.write(CHAIN[0], envelope())
    assert list(sink.read()) == []
    (tmp_path / "away.pem").rename(pair.private)
    sink.write(CHAIN[0], envelope())
    sink.close()
    assert [one.problems for one in audited(stock_of(sink.read()), "default", Keys.of([pair.base64]))] == [()]
