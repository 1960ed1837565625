"""How to come in: contradictions are named, files are looked at before anything is tried, secrets are never shown."""

from __future__ import annotations

import json
import os
import ssl
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import faust
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from stream_app.broker import KafkaSettings
from stream_app.broker.security import read_certificate
from stream_app.cli.main import main
from stream_app.errors import SettingsError
from stream_app.live.stages.app import credentials
from stream_app.settings.load import load
from stream_app.settings.serving import ServingSettings

SECRET = "hunter2"
SASL = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "username": "me"}


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("ASMG_"):
            monkeypatch.delenv(name)


def settings(**given: Any) -> KafkaSettings:
    return KafkaSettings("broker:9093", **given)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of one authority: ca, client and its key (also under a password), late (expired), with other.key."""
    directory, authority = tmp_path_factory.mktemp("certificates"), trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    client = authority.issue_cert(
        "client.example", common_name="asmg, the client", organization_name="Shop", organization_unit_name="R&D"
    )
    client.cert_chain_pems[0].write_to_path(directory / "client.pem")
    client.private_key_pem.write_to_path(directory / "client.key")
    key = load_pem_private_key(client.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET.encode()))
    (directory / "locked.key").write_bytes(locked)
    late = authority.issue_cert("client.example", not_after=datetime(2020, 2, 29, tzinfo=UTC))
    late.cert_chain_pems[0].write_to_path(directory / "late.pem")
    late.private_key_pem.write_to_path(directory / "other.key")
    (directory / "text.pem").write_text("no certificate")
    return directory


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({**SASL}, "password: must be given as password_file or as ASMG_KAFKA__PASSWORD"),
        ({**SASL, "password": "x", "password_file": "y"}, "password: is given, and password_file too"),
        ({**SASL, "password": "x", "username": ""}, "username: must be given"),
        ({**SASL, "password": "x", "sasl_mechanism": ""}, "sasl_mechanism: must be given"),
        ({"sasl_mechanism": "PLAIN"}, "sasl_mechanism: goes with SASL_SSL, but security_protocol is PLAINTEXT"),
        ({"security_protocol": "SSL", "username": "me"}, "username: goes with SASL_SSL"),
        ({"ca_file": "ca.pem"}, "ca_file: goes with SSL or SASL_SSL"),
        ({"security_protocol": "SSL", "certificate_file": "c"}, "certificate_file: is given without its key_file"),
        ({"security_protocol": "SSL", "key_file": "k"}, "key_file: is given without its certificate_file"),
        ({"security_protocol": "SSL", "key_password": "k"}, "key_password: is given without a key_file"),
        (
            {**SASL, "security_protocol": "SASL_PLAINTEXT", "password": "x"},
            "security_protocol: SASL_PLAINTEXT sends credentials without encryption",
        ),
        ({"collect_group": "a group"}, "collect_group: may have letters"),
        ({"transactional_id": ""}, "transactional_id: may have letters"),
        ({"collect_group": "same", "window_group": "same"}, "window_group: must be another group"),
    ],
)
def test_what_does_not_go_together_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        settings(**given)
    assert str(caught.value).startswith(said)
    with pytest.raises(SettingsError) as refused:
        load(ServingSettings, {"kafka": given})
    assert refused.value.key == f"kafka.{said.partition(':')[0]}"


def test_credentials_without_encryption_only_where_that_is_asked_for_by_name() -> None:
    asked = settings(**{**SASL, "security_protocol": "SASL_PLAINTEXT"}, password="x", plaintext_credentials=True)
    assert asked.kafka_python()["sasl_plain_password"] == "x"


def test_our_names_have_that_of_the_model_filled_in() -> None:
    ours = settings(collect_group="shop.{model}.in", transactional_id="shop")
    assert ours.our("collect_group", "m1") == "shop.m1.in"
    assert ours.our("window_group", "m1") == "asmg-m1-window"
    assert ours.our("transactional_id", "m1") == "shop"


def test_every_client_is_told_how_to_come_in(files: Path) -> None:
    given = settings(**SASL, password=SECRET, ca_file=str(files / "ca.pem"))
    for told in (given.kafka_python(), given.aiokafka()):
        assert (told["security_protocol"], told["sasl_mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
        assert (told["sasl_plain_username"], told["sasl_plain_password"]) == ("me", SECRET)
        assert told["ssl_context"].verify_mode is ssl.CERT_REQUIRED
        assert told["ssl_context"].check_hostname
    faust_is_told = credentials(given)
    assert isinstance(faust_is_told, faust.SASLCredentials)
    assert (faust_is_told.protocol.value, faust_is_told.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert faust_is_told.password == SECRET
    assert isinstance(credentials(settings(security_protocol="SSL")), faust.SSLCredentials)
    assert credentials(settings()) is None


def test_a_password_file_is_read_at_every_connect_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    given = settings(**SASL, password_file=str(file))
    for content, expected in (("first\n", "first"), (" second \r\n", " second ")):
        file.write_text(content, newline="")
        assert given.kafka_python()["sasl_plain_password"] == expected


def test_a_secret_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    given = settings(**SASL, password_file=str(file))
    before = given.secrets_digest()
    assert given.secrets_digest() == before
    file.write_text("second")
    assert given.secrets_digest() != before


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"ca_file": "absent.pem"}, "ca_file", "absent.pem cannot be read: No such file"),
        ({"ca_file": "text.pem"}, "ca_file", "holds no certificate in PEM form"),
        ({"certificate_file": "late.pem", "key_file": "other.key"}, "certificate_file", "has expired (2020-02-29"),
        ({"certificate_file": "text.pem", "key_file": "other.key"}, "certificate_file", "holds no certificate"),
        ({"certificate_file": "client.pem", "key_file": "absent.key"}, "key_file", "cannot be read"),
        ({"certificate_file": "client.pem", "key_file": "other.key"}, "key_file", "is not the key of"),
        ({"certificate_file": "client.pem", "key_file": "text.pem"}, "key_file", "cannot be read as a private key"),
        ({"certificate_file": "client.pem", "key_file": "locked.key"}, "key_file", "cannot be read as a private key"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(files: Path, given: dict[str, str], key: str, said: str) -> None:
    whole = {name: str(files / file) for name, file in given.items()}
    with pytest.raises(SettingsError) as refused:
        settings(security_protocol="SSL", **whole).aiokafka()
    assert refused.value.key == f"kafka.{key}"
    assert said in str(refused.value)


@pytest.mark.parametrize("content", ["", "\n", b"\xff"])
def test_a_password_file_without_a_password_is_named(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError) as refused:
        settings(**SASL, password_file=str(file)).kafka_python()
    assert refused.value.key == "kafka.password_file"


def test_a_key_may_have_a_password(files: Path) -> None:
    pair = {"certificate_file": str(files / "client.pem"), "key_file": str(files / "locked.key")}
    assert settings(security_protocol="SSL", **pair, key_password=SECRET).aiokafka()["ssl_context"]


def test_a_certificate_says_whose_it_is_as_kafka_writes_it(files: Path) -> None:
    certificate = read_certificate(str(files / "client.pem"))
    assert certificate.subject == r"CN=asmg\, the client,OU=R&D,O=Shop"
    late = read_certificate(str(files / "late.pem"))
    assert late.expires == datetime(2020, 2, 29, tzinfo=UTC).timestamp()
    assert certificate.expires > (datetime.now(UTC) + timedelta(days=1)).timestamp()


# No secret is ever shown.


def test_no_secret_is_in_the_repr() -> None:
    given = settings(**SASL, password=SECRET)
    assert SECRET not in repr(given)
    assert SECRET not in repr(
        settings(security_protocol="SSL", certificate_file="c", key_file="k", key_password=SECRET)
    )


def test_config_show_masks_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {**SASL, "password": SECRET}.items():
        monkeypatch.setenv(f"ASMG_KAFKA__{name.upper()}", value)
    assert main(["config", "show"]) == 0
    shown = json.loads(capsys.readouterr().out)["kafka"]
    assert (shown["username"], shown["password"], shown["key_password"]) == ("me", "***", "")


@pytest.mark.parametrize("flag", [f"kafka.password={SECRET}", f'kafka={{key_password="{SECRET}"}}'])
def test_a_secret_on_the_command_line_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--set", flag]) == 2
    said = capsys.readouterr().err
    assert "every process of this machine" in said
    assert SECRET not in said


def test_a_password_may_look_like_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SASL, "password": "[1"}.items():
        monkeypatch.setenv(f"ASMG_KAFKA__{name.upper()}", value)
    assert load(ServingSettings).kafka.password == "[1"


@pytest.mark.parametrize(
    "text",
    [
        f'[kafka]\npassword = "{SECRET}"',
        f'[kafka]\npassword = ["{SECRET}"]',
        f'[kafka]\npasswrd = "{SECRET}"',
        f'[kafka]\nbootstrap = 7\n[kafka.password]\ninner = "{SECRET}"',
        f'[kafka]\npassword = "{SECRET}"\nbootstrap = {{}}',
        f'kafka_password = "{SECRET}"',
    ],
)
def test_no_error_and_no_trace_shows_a_secret(text: str) -> None:
    Path("asmg.toml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(ServingSettings)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
