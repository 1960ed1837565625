"""Where the brokers are, who we are to them, and what every client is told of it.

Secrets come from a file, which is read again at every connect, or from the environment; they are in no `repr`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stream_app.broker.security import secret, tls_context

_BOOTSTRAP_MS = 8_000  # kafka-python's own 30 s is how long a wrong address would stay silent
_RECONNECT_MS = 2_000  # its own 30 s is how long a broker that is back would go unnoticed
_FETCH_BYTES = 8 << 20  # measured best for messages of 900 KB; bounds what a client holds, too

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
OurName = Literal["collect_group", "window_group", "transactional_id"]

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class KafkaSettings:
    """Where the brokers are and how to come in.

    `bootstrap` is `host:port`, several separated by commas; `client_id` names us in their logs. Files are PEM.
    collect_group, window_group, transactional_id: our names on the cluster, with `{model}` for that of the model.
    Contradictions raise ValueError here; what is on the disk is looked at when a client is made (SettingsError).
    """

    bootstrap: str = "localhost:9092"
    security_protocol: Protocol = "PLAINTEXT"
    client_id: str = "asmg"
    sasl_mechanism: Mechanism = ""
    username: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: str = field(default="", repr=False)
    key_password_file: str = ""
    plaintext_credentials: bool = False
    collect_group: str = "asmg-{model}-collect"
    window_group: str = "asmg-{model}-window"
    transactional_id: str = "asmg-{model}"

    def __post_init__(self) -> None:
        """Raises ValueError that begins with the name of the setting that is wrong."""
        if not self.addresses:
            raise ValueError("bootstrap names no broker: expected host:port[,host:port...]")
        for problem in (*self._wrong_credentials(), *self._wrong_certificates(), *self._wrong_names()):
            raise ValueError(problem)

    @property
    def servers(self) -> list[str]:
        """`bootstrap` as a list of `host:port`."""
        return [server.strip() for server in self.bootstrap.split(",") if server.strip()]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """`bootstrap` as (host, port); an IPv6 host may stand in brackets."""
        return [_address(server) for server in self.servers]

    @property
    def sasl(self) -> bool:
        """Whether we come in with user name and password."""
        return self.security_protocol.startswith("SASL_")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    def our(self, name: OurName, model: str) -> str:
        """One of our names on the cluster, for this model."""
        return str(getattr(self, name)).replace("{model}", model)

    def security(self) -> dict[str, Any]:
        """What kafka-python and aiokafka alike are told; secrets and certificates are read from their files now.

        Raises SettingsError naming the file that is not there, not readable, not what it should be, or expired.
        """
        told: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.tls:
            told["ssl_context"] = tls_context(
                self.ca_file,
                self.certificate_file,
                self.key_file,
                secret("key_password", self.key_password, self.key_password_file),
            )
        if self.sasl:
            told |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": secret("password", self.password, self.password_file),
            }
        return told

    def secrets_digest(self) -> str:
        """Another one as soon as a file of secrets or certificates says something else. Raises OSError."""
        files = (self.password_file, self.ca_file, self.certificate_file, self.key_file, self.key_password_file)
        digest = hashlib.sha256()
        for file in filter(None, files):
            digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
        return digest.hexdigest()

    def kafka_python(self) -> dict[str, Any]:
        """Keyword arguments for every client of kafka-python. Raises SettingsError, see `security`."""
        return {
            "bootstrap_servers": self.servers,
            "client_id": self.client_id,
            "bootstrap_timeout_ms": _BOOTSTRAP_MS,
            "reconnect_backoff_max_ms": _RECONNECT_MS,
            **self.security(),
        }

    def plain_reader(self) -> dict[str, Any]:
        """For a consumer of kafka-python of its own: no group, committed records only, from where it is told to.

        Raises SettingsError, see `security`.
        """
        return {
            **self.kafka_python(),
            "group_id": None,
            "isolation_level": "read_committed",
            "auto_offset_reset": "none",
            "enable_auto_commit": False,
            "allow_auto_create_topics": False,
            "fetch_max_bytes": _FETCH_BYTES,
            "max_partition_fetch_bytes": _FETCH_BYTES,
        }

    def aiokafka(self) -> dict[str, Any]:
        """Keyword arguments for every client of aiokafka. Raises SettingsError, see `security`."""
        return {"bootstrap_servers": self.servers, "client_id": self.client_id, **self.security()}

    def _wrong_credentials(self) -> list[str]:
        protocol, given = self.security_protocol, {"password": self.password, "password_file": self.password_file}
        if not self.sasl:
            named = {"sasl_mechanism": self.sasl_mechanism, "username": self.username, **given}
            return [f"{name}: goes with SASL_SSL, but security_protocol is {protocol}" for name in named if named[name]]
        wrong = []
        if protocol == "SASL_PLAINTEXT" and not self.plaintext_credentials:
            wrong.append(
                "security_protocol: SASL_PLAINTEXT sends credentials without encryption; use SASL_SSL, or say "
                "plaintext_credentials = true"
            )
        if not self.sasl_mechanism:
            wrong.append(f"sasl_mechanism: must be given with {protocol}: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        if not self.username:
            wrong.append(f"username: must be given with {protocol}")
        if all(given.values()):
            wrong.append("password: is given, and password_file too: keep one of them")
        if not any(given.values()):
            wrong.append("password: must be given as password_file or as ASMG_KAFKA__PASSWORD")
        return wrong

    def _wrong_certificates(self) -> list[str]:
        files = {name: getattr(self, name) for name in ("ca_file", "certificate_file", "key_file")}
        if not self.tls:
            said = f"goes with SSL or SASL_SSL, but security_protocol is {self.security_protocol}"
            return [f"{name}: {said}" for name, file in files.items() if file]
        wrong = []
        if self.certificate_file and not self.key_file:
            wrong.append("certificate_file: is given without its key_file (one file may hold both)")
        if self.key_file and not self.certificate_file:
            wrong.append("key_file: is given without its certificate_file")
        if (self.key_password or self.key_password_file) and not self.key_file:
            wrong.append("key_password: is given without a key_file")
        if self.key_password and self.key_password_file:
            wrong.append("key_password: is given, and key_password_file too: keep one of them")
        return wrong

    def _wrong_names(self) -> list[str]:
        names: tuple[OurName, ...] = ("collect_group", "window_group", "transactional_id")
        wrong = [
            f"{name}: may have letters, digits, '.', '_', '-' and {{model}}, is {getattr(self, name)!r}"
            for name in names
            if not _NAME.fullmatch(self.our(name, "m"))
        ]
        if self.collect_group == self.window_group:
            wrong.append("window_group: must be another group than collect_group")
        return wrong


def _address(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"bootstrap: {server!r} is not host:port")
    return host.strip("[]"), int(port)
