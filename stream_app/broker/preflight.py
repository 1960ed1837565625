"""A quick, honest answer before a client is made: is a broker there, does it let us in, has it the topics, may we?

Clients say "unable to bootstrap" after half a minute, whatever the reason; and a client that was let in, but may not
read its topic, may stay alive and silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from stream_app.broker.connection import Connection
from stream_app.broker.rights import Right, describe, missing
from stream_app.broker.settings import KafkaSettings
from stream_app.errors import AccessDenied, AsmgError, TopicMissing, Unavailable

Address = tuple[str, int]

_PATIENCE = 20.0
_AT_ONCE = 8


def preflight(settings: KafkaSettings, topics: Iterable[str] = (), rights: Iterable[Right] = ()) -> None:
    """Returns when a broker lets us in, has all `topics` and grants all `rights`.

    Raises within seconds: Unavailable naming the address and the reason, or the topics that are missing; AccessDenied
    naming what was refused; SettingsError naming a file of secrets or certificates.
    """
    with connect(settings) as connection:
        granted(connection, settings, topics, rights)


def granted(connection: Connection, settings: KafkaSettings, topics: Iterable[str], rights: Iterable[Right]) -> None:
    """The part of `preflight` that is asked on a connection."""
    for right in missing(connection, list(rights)):
        raise right.denied(principal(settings))
    there = describe(connection, topics)
    for topic in there.values():
        if not topic.shown:
            raise Right("topic", topic.name, ("Read",), "to see whether it is there").denied(principal(settings))
    if lacking := sorted(name for name, topic in there.items() if topic.partitions is None):
        raise TopicMissing(
            f"Kafka at {settings.bootstrap} has no topic {', '.join(lacking)}; create it (asmg topics create) "
            "or correct its name in the settings"
        )


def reach(settings: KafkaSettings) -> None:
    """Returns when one of the brokers lets us in: clients find the others through it.

    To be asked before a client of kafka-python is made: a consumer or admin client that cannot bootstrap leaves a
    thread behind (3.0.12), each time. Raises as `connect` does.
    """
    connect(settings).close()


def connect(settings: KafkaSettings) -> Connection:
    """A connection to the first broker of `bootstrap` that lets us in.

    Raises AccessDenied when one refused us, else Unavailable, at once or after 2 to 7 s an address, at most 20 s.
    """
    reasons = []
    refusal: AccessDenied | None = None
    until = monotonic() + _PATIENCE
    for host, port in settings.addresses:
        if monotonic() > until:
            reasons.append(f"{host}:{port}: not tried any more")
            continue
        try:
            return Connection(settings, host, port)
        except AccessDenied as error:
            refusal = refusal or error
        except Unavailable as error:
            reasons.append(str(error))
    if refusal is not None:
        raise refusal
    raise Unavailable(
        f"Kafka cannot be reached at {settings.bootstrap} ({'; '.join(reasons)}); "
        "start the broker or correct kafka.bootstrap"
    )


def advertised(connection: Connection) -> list[Address]:
    """The addresses under which the brokers want to be reached: clients go there, whatever `bootstrap` says."""
    from kafka.protocol.metadata import MetadataRequest

    return [(broker.host, broker.port) for broker in connection.ask(MetadataRequest(topics=[], min_version=1)).brokers]


def reach_each(settings: KafkaSettings, addresses: Iterable[Address]) -> dict[Address, AsmgError | None]:
    """Whether each of these brokers lets us in: None, or why not. They are asked at the same time."""

    def asked(address: Address) -> AsmgError | None:
        try:
            Connection(settings, *address).close()
        except AsmgError as error:
            return error
        return None

    wanted = list(dict.fromkeys(addresses))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(asked, wanted), strict=True))


def principal(settings: KafkaSettings) -> str:
    """Who we are to the cluster's lists of rights, unless it maps names."""
    if settings.sasl:
        return f"User:{settings.username}"
    if settings.certificate_file:
        from stream_app.broker.security import read_certificate

        return f"User:{read_certificate(settings.certificate_file).subject}"
    return "User:ANONYMOUS"
