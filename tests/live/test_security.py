"""A company's Kafka: TLS, SCRAM, ACLs, no right to create topics. The printed rights are enough, and each is needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from live_helpers import PATIENCE
from replay_helpers import write
from secured import SecuredBroker

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import connect, preflight, principal
from stream_app.broker.rights import Right
from stream_app.cli.main import main
from stream_app.errors import AccessDenied, AsmgError, SettingsError, Unavailable
from stream_app.live.cluster import topics
from stream_app.live.cluster.roles import rights
from stream_app.live.cluster.topics_check import check, fit
from stream_app.live.supervisor import FINAL
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.synthetic import drifting_stream

PERIODS, COUNT, PRETRAIN = 4, 200, 2
VERSIONS = PERIODS - PRETRAIN + 1
MODEL = "shop"
NAMES = topics.TopicSettings("their.clicks", "asmg.segments", "asmg.models", "asmg.refused")
PRINCIPAL = "User:asmg"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """In place of the plain one: a broker where nobody may do what no ACL allows; its topics are there."""
    with SecuredBroker(tmp_path_factory.mktemp("secured")) as secured:
        topics.create(KafkaSettings(secured.bootstrap), NAMES)
        yield secured


@pytest.fixture
def kafka(broker: SecuredBroker, tmp_path: Path) -> KafkaSettings:
    """As the user comes in."""
    (tmp_path / "password").write_text(f"{broker.password}\n")
    return KafkaSettings(
        broker.listener("SASL_SSL"),
        "SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        username=broker.user,
        password_file=str(tmp_path / "password"),
        ca_file=str(broker.ca),
        collect_group="shop-in-{model}",
    )


@pytest.fixture
def config(kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as a settings file, in the directory that we are in."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "asmg.toml"
    path.write_text(
        f"""
        model = "{MODEL}"
        state_directory = "{tmp_path / "state"}"
        [kafka]
        bootstrap = "{kafka.bootstrap}"
        security_protocol = "SASL_SSL"
        sasl_mechanism = "SCRAM-SHA-512"
        username = "{kafka.username}"
        password_file = "{kafka.password_file}"
        ca_file = "{kafka.ca_file}"
        collect_group = "{kafka.collect_group}"
        [topics]
        interactions = "{NAMES.interactions}"
        segments = "{NAMES.segments}"
        models = "{NAMES.models}"
        dead_letters = "{NAMES.dead_letters}"
        [periods]
        count = {COUNT}
        [learning]
        pretrain = {PRETRAIN}
        passes = 1
        initialisations = 1
        """
    )
    return path


@pytest.fixture
def printed(config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `asmg topics print --json` tells the person with admin rights."""
    assert main(["topics", "print", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def granted(broker: SecuredBroker, printed: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The rights of the worker, of a producer and of a subscriber, exactly as printed; taken away afterwards."""
    acls = [acl for role in ("worker", "producer", "subscriber") for acl in printed["rights"][role]["acls"]]
    broker.grant(printed["principal"], acls)
    yield acls
    for acl in acls:
        broker.revoke(printed["principal"], acl)


def until(seen: Callable[[], bool]) -> None:
    """ACLs reach the broker a moment after they were made."""
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refusal(kafka: KafkaSettings, needed: list[Right]) -> AsmgError | None:
    try:
        check(kafka, NAMES, needed)
    except AsmgError as error:
        return error
    return None


def worker(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stream_app.cli", "worker", "--config", str(config)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.broker
def test_the_whole_chain_runs_with_the_printed_rights_alone_and_ends_when_one_is_taken_away(
    broker: SecuredBroker, kafka: KafkaSettings, config: Path, granted: list[dict[str, Any]], tmp_path: Path
) -> None:
    recording = write(tmp_path / "stream.parquet", drifting_stream(PERIODS * COUNT + 7, users=40, items=30, seed=3))
    running = worker(config)
    try:
        assert main(["produce", str(recording), "--end"]) == 0
        with ModelSubscriber(SubscriberSettings(kafka, NAMES.models, MODEL)) as subscriber:
            assert subscriber.wait(timeout=PATIENCE, version=VERSIONS).version.number == VERSIONS
        group = next(acl for acl in granted if acl["kind"] == "group" and "window" in acl["name"])
        broker.revoke(PRINCIPAL, group)
        _, said = running.communicate(timeout=PATIENCE)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 3
    assert re.search(rf"^asmg: .*{PRINCIPAL} may not read group asmg-{MODEL}-window", said, re.MULTILINE), said
    assert broker.password not in said


@pytest.mark.broker
def test_each_right_that_is_missing_is_named(
    broker: SecuredBroker, kafka: KafkaSettings, granted: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    needed = rights("worker", kafka, NAMES, MODEL)
    until(lambda: refusal(kafka, needed) is None)
    for acl in [one for one in granted if one["purpose"] in {right.purpose for right in needed}]:
        for operation in acl["operations"]:
            one = {**acl, "operations": [operation]}
            broker.revoke(PRINCIPAL, one)
            until(lambda: refusal(kafka, needed) is not None)
            error = refusal(kafka, needed)
            assert isinstance(error, AccessDenied)
            assert f"may not {operation.lower()} {acl['kind']} {acl['name']} " in str(error)
            assert error.exit_code == 3
            broker.grant(PRINCIPAL, [one])
            until(lambda: refusal(kafka, needed) is None)


@pytest.mark.broker
def test_an_operator_redrives_and_pins_with_the_printed_rights_alone_and_is_told_which_one_is_missing(
    broker: SecuredBroker, printed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    acls = printed["rights"]["operator"]["acls"]
    broker.grant(printed["principal"], acls)
    until(lambda: main(["dead-letters", "redrive"]) == 0)
    assert main(["dead-letters", "list"]) == 0
    until(lambda: main(["versions", "unpin"]) == 0)
    capsys.readouterr()
    for acl in acls:
        broker.revoke(printed["principal"], acl)
    for refused in (["dead-letters", "redrive"], ["versions", "unpin"]):
        assert main(refused) == 3
        assert f"{PRINCIPAL} may not " in capsys.readouterr().err


@pytest.mark.broker
def test_without_any_right_check_tells_them_all_and_the_worker_and_create_end_with_3(
    broker: SecuredBroker, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starting = worker(config)
    assert main(["config", "check", "--json"]) == 3
    answers = json.loads(capsys.readouterr().out)
    denied = [one["said"] for one in answers if one["check"] == "right" and one["result"] == "problem"]
    assert len(denied) == 7
    assert {one["check"]: one["result"] for one in answers}["device"] == "ok"
    _, said = starting.communicate(timeout=PATIENCE)
    assert starting.returncode == 3
    assert said.count("\n") == 1
    assert f"{PRINCIPAL} may not read topic {NAMES.interactions}" in said
    missing = ["--set", "topics.segments=asmg.other"]
    assert main(["topics", "create", *missing]) == 3
    assert f"{PRINCIPAL} may not create topic" in capsys.readouterr().err


@pytest.mark.broker
def test_check_sees_what_the_rights_let_it_see_and_says_what_not(
    broker: SecuredBroker, kafka: KafkaSettings, granted: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    until(lambda: refusal(kafka, rights("worker", kafka, NAMES, MODEL)) is None)
    assert main(["topics", "check"]) == 0
    assert capsys.readouterr().out.count("not checked: we may not see them (DescribeConfigs)") == 4
    with connect(KafkaSettings(broker.bootstrap)) as super_user:
        assert fit(super_user, NAMES).unchecked == ()


def unfit(file: str) -> Callable[[SecuredBroker, KafkaSettings], KafkaSettings]:
    """Another listener of the broker."""
    return lambda broker, kafka: replace(kafka, bootstrap=broker.listener(file))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b, k: replace(k, password_file="", password="wrong"), "does not take user 'asmg' with this password"),
        (lambda b, k: replace(k, username="nobody"), "does not take user 'nobody' with this password"),
        (unfit("EXPIRED"), "has a certificate that has expired"),
        (unfit("ELSEWHERE"), "has a certificate for another host name than localhost"),
        (lambda b, k: replace(k, ca_file=str(b.other_ca)), "of an authority that is not in"),
        (lambda b, k: replace(k, ca_file=""), "of an authority that is not in this machine's certificates"),
        (lambda b, k: replace(mutual(b), certificate_file="", key_file=""), "wants a client certificate"),
        (
            lambda b, k: replace(mutual(b), certificate_file=str(b.expired_client), key_file=str(b.expired_client_key)),
            "has expired",
        ),
        (lambda b, k: replace(mutual(b), bootstrap=b.bootstrap), "does not speak TLS at this port"),
        (lambda b, k: KafkaSettings(k.bootstrap), "it may want another kafka.security_protocol than PLAINTEXT"),
    ],
)
def test_who_is_not_let_in_is_told_why(
    broker: SecuredBroker, kafka: KafkaSettings, change: Callable[..., KafkaSettings], said: str
) -> None:
    with pytest.raises((AccessDenied, SettingsError, Unavailable)) as refused:
        preflight(change(broker, kafka))
    assert said in str(refused.value)
    assert broker.password not in str(refused.value)
    assert preflight(kafka) is None


@pytest.mark.broker
def test_a_broker_that_is_reached_is_not_enough_where_it_sends_clients_on_to_a_name_that_is_not_its_own(
    broker: SecuredBroker, kafka: KafkaSettings, granted: list[dict[str, Any]]
) -> None:
    elsewhere = replace(kafka, bootstrap=broker.listener("ELSEWHERE", "127.0.0.1"))
    preflight(elsewhere)
    with pytest.raises(AccessDenied, match="for another host name than localhost"):
        check(elsewhere, NAMES)


@pytest.mark.broker
def test_a_child_that_is_not_let_in_any_more_says_why_and_is_not_started_again(config: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("another")
    command = [sys.executable, "-m", "stream_app.cli", "worker", "--child", "collect", "--config", str(config)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    said = child.stderr.read()
    assert child.wait(PATIENCE) in FINAL
    assert "does not take user 'asmg' with this password" in said.splitlines()[-1]


@pytest.mark.broker
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_the_other_mechanisms_come_in_too(broker: SecuredBroker, kafka: KafkaSettings, mechanism: Any) -> None:
    preflight(replace(kafka, sasl_mechanism=mechanism))
    opened = replace(
        kafka,
        bootstrap=broker.listener("OPEN"),
        security_protocol="SASL_PLAINTEXT",
        ca_file="",
        plaintext_credentials=True,
    )
    preflight(replace(opened, sasl_mechanism=mechanism))


@pytest.mark.broker
def test_a_client_certificate_comes_in_under_the_name_that_is_printed(broker: SecuredBroker) -> None:
    kafka = mutual(broker)
    needed = Right("topic", NAMES.models, ("Read",), "a test")
    assert not _allowed(kafka, needed)
    broker.grant(principal(kafka), [{"kind": "topic", "name": NAMES.models, "operations": ["Read"]}])
    until(lambda: _allowed(kafka, needed))


def mutual(broker: SecuredBroker) -> KafkaSettings:
    files = {"certificate_file": str(broker.client), "key_file": str(broker.client_key), "ca_file": str(broker.ca)}
    return KafkaSettings(broker.listener("MTLS"), "SSL", **files)


def _allowed(kafka: KafkaSettings, right: Right) -> bool:
    try:
        preflight(kafka, (), [right])
    except AccessDenied:
        return False
    return True
