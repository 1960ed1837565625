#!/usr/bin/env python3
"""The local broker as a company runs it: TLS, SCRAM, client certificates and ACLs. Nobody may do what no ACL allows.

    python deploy/kafka-local/secured.py [--directory D]       runs until Ctrl-C, prints its listeners and files

    with SecuredBroker(Path("somewhere")) as broker:           the same from Python
        broker.listener("SASL_SSL"), broker.ca, broker.password

| listener | who may come in | certificate of the broker |
|---|---|---|
| PLAINTEXT | the super user, without any credentials: for set-up only | none |
| SASL_SSL | user `asmg` (SCRAM-SHA-512, SCRAM-SHA-256, PLAIN) | right |
| MTLS | whoever shows a certificate of our CA: `SecuredBroker.client` | right |
| OPEN | as SASL_SSL, but without TLS | none |
| EXPIRED | as SASL_SSL | expired yesterday |
| ELSEWHERE | as SASL_SSL | for another host than localhost, under which it wants to be reached |

The certificates are thrown away with the directory. Needs trustme, a development dependency, beside what broker.py
needs.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from broker import BrokerFailed, JavaMissing, LocalBroker, _interrupt, free_ports
from cryptography.hazmat.primitives import serialization
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLFilter, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

PROTOCOLS = {
    "SASL_SSL": "SASL_SSL",
    "MTLS": "SSL",
    "OPEN": "SASL_PLAINTEXT",
    "EXPIRED": "SASL_SSL",
    "ELSEWHERE": "SASL_SSL",
}
USER, PASSWORD = "asmg", "a-throwaway-p@ssword"
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")

SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
SECURITY = """\
super.users=User:ANONYMOUS
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
ssl.keystore.type=PEM
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.mtls.ssl.client.auth=required
"""


class SecuredBroker(LocalBroker):
    """See the module. `bootstrap` is the door of the super user; `listener` gives the addresses of the others.

    ca, other_ca: certificates of our authority and of one that nobody trusts; client, client_key: certificate and key
    of a client; expired_client, expired_client_key: of one that may no longer come in.
    """

    user, password = USER, PASSWORD

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._ports = dict(zip(PROTOCOLS, free_ports(len(PROTOCOLS)), strict=True))
        self._files = self.directory / "certificates"
        self.ca, self.other_ca = self._files / "ca.pem", self._files / "other-ca.pem"
        self.client, self.client_key = self._files / "client.pem", self._files / "client.key"
        self.expired_client, self.expired_client_key = self._files / "late.pem", self._files / "late.key"

    def listener(self, name: str, host: str = "localhost") -> str:
        """The address of the listener of that name."""
        return f"{host}:{self._ports[name]}"

    def start(self, deadline: float = 90.0) -> None:
        """Makes the certificates if they are not there yet, then starts."""
        if not self._files.is_dir():
            self._files.mkdir(parents=True)
            self._make_certificates()
        super().start(deadline)

    def properties(self) -> str:
        """Those of the plain broker with the other listeners added."""
        addresses = [f"{name}://localhost:{port}" for name, port in self._ports.items()]
        protocols = [f"{name}:{protocol}" for name, protocol in PROTOCOLS.items()]
        longer = {"listeners": addresses, "advertised.listeners": addresses}
        longer["listener.security.protocol.map"] = protocols
        lines = []
        for line in super().properties().splitlines():
            key, _, value = line.partition("=")
            lines.append(",".join([line, *longer.get(key, ())]) if key in longer else f"{key}={value}")
        return "\n".join([*lines, SECURITY.format(ca=self.ca), *self._of_listeners(), ""])

    def format_options(self) -> list[str]:
        """Adds the user."""
        return [f"--add-scram={name}=[name={USER},password={PASSWORD}]" for name in MECHANISMS]

    def grant(self, principal: str, acls: Iterable[Mapping[str, Any]]) -> None:
        """Grants rights as `asmg topics print --json` lists them: {kind, name, operations}."""
        with self._super_user() as admin:
            done = admin.create_acls([_acl(ACL, principal, acl, one) for acl in acls for one in acl["operations"]])
        if done["failed"]:
            raise BrokerFailed(f"the broker did not grant the rights: {done['failed']}")

    def revoke(self, principal: str, acl: Mapping[str, Any]) -> None:
        """Takes one of them away again."""
        with self._super_user() as admin:
            admin.delete_acls([_acl(ACLFilter, principal, acl, one) for one in acl["operations"]])

    def _super_user(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.bootstrap)

    def _of_listeners(self) -> list[str]:
        lines = []
        for name, protocol in PROTOCOLS.items():
            prefix = f"listener.name.{name.lower()}"
            if protocol.endswith("SSL"):
                lines.append(f"{prefix}.ssl.keystore.location={self._files / self._keystore(name)}")
            if protocol.startswith("SASL"):
                lines += [f"{prefix}.{m.lower()}.sasl.jaas.config={SCRAM}" for m in MECHANISMS]
                lines.append(f"{prefix}.plain.sasl.jaas.config={PLAIN}")
        return lines

    def _keystore(self, listener: str) -> str:
        return {"EXPIRED": "expired.pem", "ELSEWHERE": "elsewhere.pem"}.get(listener, "broker.pem")

    def _make_certificates(self) -> None:
        ours, other = trustme.CA(), trustme.CA()
        ours.cert_pem.write_to_path(self.ca)
        other.cert_pem.write_to_path(self.other_ca)
        yesterday = datetime.now(UTC) - timedelta(days=1)
        here, us = ("localhost", "127.0.0.1"), ("asmg-client.example",)
        _keystore(ours.issue_cert(*here), self._files / "broker.pem")
        _keystore(ours.issue_cert(*here, not_after=yesterday), self._files / "expired.pem")
        _keystore(ours.issue_cert("elsewhere.example", "127.0.0.1"), self._files / "elsewhere.pem")
        _pair(ours.issue_cert(*us, common_name="asmg-client"), self.client, self.client_key)
        late = ours.issue_cert(*us, common_name="asmg-client", not_after=yesterday)
        _pair(late, self.expired_client, self.expired_client_key)


def _acl(kind: type[Any], principal: str, acl: Mapping[str, Any], operation: str) -> Any:
    resource = ResourcePattern(ResourceType[acl["kind"].upper().replace("-", "_")], acl["name"])
    return kind(principal, "*", ACLOperation[operation.upper()], ACLPermissionType.ALLOW, resource)


def _pair(certificate: trustme.LeafCert, chain: Path, key: Path) -> None:
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(chain, append=chain.exists())
    key.write_bytes(_pkcs8(certificate))


def _keystore(certificate: trustme.LeafCert, path: Path) -> None:
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    path.write_bytes(_pkcs8(certificate) + chain)


def _pkcs8(certificate: trustme.LeafCert) -> bytes:
    """The only form of a key that Kafka reads from a PEM file."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form)


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit codes as those of broker.py."""
    parser = argparse.ArgumentParser(description="One real Apache Kafka broker with TLS, SCRAM and ACLs, on loopback.")
    parser.add_argument("--directory", type=Path, help="data and certificates; kept (default: a temporary folder)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with contextlib.ExitStack() as stack:
            directory = options.directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kafka-")))
            broker = stack.enter_context(SecuredBroker(directory))
            print(f"PLAINTEXT {broker.bootstrap} (super user)")
            for name in PROTOCOLS:
                print(f"{name} {broker.listener(name)}")
            print(f"user {USER}, password {PASSWORD!r}, ca {broker.ca}", flush=True)
            broker.wait()
            return 1
    except KeyboardInterrupt:
        return 0
    except (JavaMissing, BrokerFailed) as error:
        print(error, file=sys.stderr)
        return 5 if isinstance(error, JavaMissing) else 1


if __name__ == "__main__":
    sys.exit(main())
