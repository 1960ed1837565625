"""How to reach the Kafka cluster, and a quick, honest answer when it cannot be reached.

Clients say "unable to bootstrap" after half a minute, whatever the reason; `preflight` asks the socket first and
names the address and the reason within seconds.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from stream_app.errors import Unavailable

_CONNECT_SECONDS = 2.0
_BOOTSTRAP_MS = 8_000  # kafka-python's own 30 s is how long a wrong address would stay silent
_RECONNECT_MS = 2_000  # its own 30 s is how long a broker that is back would go unnoticed
_PREFLIGHT_MS = 5_000


@dataclass(frozen=True)
class KafkaSettings:
    """Where the brokers are.

    `bootstrap` is `host:port`, several separated by commas; `client_id` names us in their logs.
    """

    bootstrap: str = "localhost:9092"
    security_protocol: Literal["PLAINTEXT"] = "PLAINTEXT"
    client_id: str = "asmg"

    def __post_init__(self) -> None:
        """Raises ValueError when `bootstrap` names no address or a port that is none."""
        if not self.addresses:
            raise ValueError("bootstrap names no broker: expected host:port[,host:port...]")

    @property
    def servers(self) -> list[str]:
        """`bootstrap` as a list of `host:port`."""
        return [server.strip() for server in self.bootstrap.split(",") if server.strip()]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """`bootstrap` as (host, port); an IPv6 host may stand in brackets."""
        return [_address(server) for server in self.servers]

    def kafka_python(self) -> dict[str, Any]:
        """Keyword arguments for every client of kafka-python."""
        return {
            "bootstrap_servers": self.servers,
            "security_protocol": self.security_protocol,
            "client_id": self.client_id,
            "bootstrap_timeout_ms": _BOOTSTRAP_MS,
            "reconnect_backoff_max_ms": _RECONNECT_MS,
        }

    def aiokafka(self) -> dict[str, Any]:
        """Keyword arguments for every client of aiokafka."""
        return {
            "bootstrap_servers": self.servers,
            "security_protocol": self.security_protocol,
            "client_id": self.client_id,
        }


def _address(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"bootstrap: {server!r} is not host:port")
    return host.strip("[]"), int(port)


def preflight(settings: KafkaSettings, topics: Iterable[str] = ()) -> None:
    """Returns when a broker answers and has all `topics`.

    Raises Unavailable within about 8 s, naming the address and the reason, or the topics that are missing.
    """
    reach(settings)
    present = _topics(settings)
    if missing := sorted(set(topics) - present):
        raise Unavailable(
            f"Kafka at {settings.bootstrap} has no topic {', '.join(missing)}; create it (asmg topics create) "
            "or correct its name in the settings"
        )


def reach(settings: KafkaSettings) -> None:
    """Returns when one of the brokers accepts a connection: clients find the others through it.

    To be asked before a client of kafka-python is made: a consumer or admin client that cannot bootstrap leaves a
    thread behind (3.0.12), each time. Raises Unavailable, at once or after 2 s per address.
    """
    reasons = []
    for host, port in settings.addresses:
        try:
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
            return
        except OSError as error:
            reasons.append(f"{host}:{port}: {error.strerror or error}")
    raise Unavailable(
        f"Kafka cannot be reached at {settings.bootstrap} ({'; '.join(reasons)}); "
        "start the broker or correct kafka.bootstrap"
    )


def _topics(settings: KafkaSettings) -> set[str]:
    # kafka-python takes 0.2 s to import, and a replay without Kafka needs only the settings above.
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    arguments = settings.kafka_python() | {"bootstrap_timeout_ms": _PREFLIGHT_MS, "request_timeout_ms": _PREFLIGHT_MS}
    try:
        admin = KafkaAdminClient(**arguments)
        try:
            return set(admin.list_topics())
        finally:
            admin.close()
    except (KafkaError, OSError) as error:
        raise Unavailable(
            f"{settings.bootstrap} accepts connections but does not answer as Kafka ({type(error).__name__}: {error})"
        ) from error
