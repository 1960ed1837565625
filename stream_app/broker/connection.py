"""One connection to one broker, made step by step, so that the step that fails can be named.

Clients try again in silence and then say "unable to bootstrap", whatever the reason. Here every refusal has its words:

| step | refused as |
|---|---|
| name and port | `Unavailable` |
| TLS: the broker's certificate, then ours | `AccessDenied` |
| user name and password | `AccessDenied` |
| anything else than Kafka's answer | `Unavailable` |

It reads and writes with kafka-python's protocol, blocks, and is closed within seconds: no thread, nothing left behind.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any, Self

from stream_app.broker.settings import KafkaSettings
from stream_app.errors import AccessDenied, Unavailable

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
_LARGEST_ANSWER = 32 << 20
_READ_BYTES = 1 << 16

# Codes of Kafka's protocol, as in its documentation.
UNSUPPORTED_MECHANISM, WRONG_SASL_STATE, AUTHENTICATION_FAILED = 33, 34, 58

_EXPIRED, _UNKNOWN_CA, _OTHER_NAME = (10,), (2, 18, 19, 20, 21), (62, 64)
"""Why OpenSSL refuses a certificate: numbers of X509_verify_cert_error_string(3)."""


class Connection:
    """A connection that has come in: encrypted and authenticated as the settings say."""

    def __init__(self, kafka: KafkaSettings, host: str, port: int) -> None:
        """Raises Unavailable, AccessDenied, or SettingsError (files of secrets and certificates)."""
        from kafka.protocol.parser import KafkaProtocol

        self._kafka, self._host, self.address = kafka, host, f"{host}:{port}"
        self._security = kafka.security()
        self._protocol = KafkaProtocol(client_id=kafka.client_id, receive_message_max_bytes=_LARGEST_ANSWER)
        self._socket = self._connected(port)
        try:
            self._encrypt()
            self._versions = self._supported()
            self._authenticate()
        except BaseException:
            self.close()
            raise

    def ask(self, request: Any) -> Any:
        """The answer to a request of kafka-python's protocol. Raises as the constructor does."""
        from kafka.errors import IncompatibleBrokerVersion

        try:
            request.API_VERSION = self._versions.api_version(request)
        except IncompatibleBrokerVersion as error:
            raise Unavailable(f"{self.address}: {error}") from error
        return self._exchange(request)

    def close(self) -> None:
        """Hangs up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self, port: int) -> socket.socket:
        try:
            connected = socket.create_connection((self._host, port), timeout=CONNECT_SECONDS)
        except OSError as error:
            raise Unavailable(f"{self.address}: {error.strerror or error}") from error
        connected.settimeout(ANSWER_SECONDS)
        return connected

    def _encrypt(self) -> None:
        context: ssl.SSLContext | None = self._security.get("ssl_context")
        if context is None:
            return
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=self._host)
        except OSError as error:
            raise self._named(error) from error

    def _supported(self) -> Any:
        from kafka.protocol.broker_version_data import BrokerVersionData
        from kafka.protocol.metadata import ApiVersionsRequest

        answer = self._exchange(ApiVersionsRequest(version=0))
        return BrokerVersionData(
            api_versions={key.api_key: (key.min_version, key.max_version) for key in answer.api_keys}
        )

    def _authenticate(self) -> None:
        if not self._kafka.sasl:
            return
        from kafka.net.sasl import get_sasl_mechanism
        from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

        name = self._kafka.sasl_mechanism
        chosen = self.ask(SaslHandshakeRequest(mechanism=name))
        if chosen.error_code == UNSUPPORTED_MECHANISM:
            raise self._denied(
                f"does not take {name}", f"set kafka.sasl_mechanism to one of {', '.join(sorted(chosen.mechanisms))}"
            )
        if chosen.error_code == WRONG_SASL_STATE:
            raise self._denied(
                "wants no user name and password at this port",
                f"set kafka.security_protocol to {'SSL' if self._kafka.tls else 'PLAINTEXT'}, or use another port",
            )
        mechanism = get_sasl_mechanism(name)(host=self._host, **self._security)
        while not mechanism.is_done():
            answer = self.ask(SaslAuthenticateRequest(mechanism.auth_bytes()))
            if answer.error_code:
                raise self._unauthenticated(name)
            try:
                mechanism.receive(answer.auth_bytes)
            except (ValueError, KeyError) as error:
                raise self._unauthenticated(name) from error

    def _unauthenticated(self, mechanism: str) -> AccessDenied:
        source = "kafka.password_file" if self._kafka.password_file else "kafka.password"
        return self._denied(
            f"does not take user {self._kafka.username!r} with this password ({mechanism})",
            f"correct kafka.username or {source}, or have the user made on the cluster",
        )

    def _exchange(self, request: Any) -> Any:
        from kafka.errors import KafkaError

        try:
            self._protocol.send_request(request)
            self._socket.sendall(self._protocol.send_bytes())
            while not (answers := self._protocol.receive_bytes(self._received())):
                pass
        except (OSError, KafkaError) as error:
            raise self._named(error) from error
        return answers[0][1]

    def _received(self) -> bytes:
        received = self._socket.recv(_READ_BYTES)
        if not received:
            raise ConnectionResetError("closed the connection")
        return received

    def _denied(self, problem: str, remedy: str) -> AccessDenied:
        return AccessDenied(f"broker {self.address} {problem}", remedy)

    def _named(self, error: Exception) -> AccessDenied | Unavailable:
        """What went wrong on a connection that was open."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._denied(*self._distrusted(error))
        if isinstance(error, ssl.SSLError) and error.reason:
            return self._denied(*_tls_refusal(error.reason, bool(self._kafka.certificate_file)))
        return Unavailable(
            f"{self.address} accepts connections but does not answer as Kafka ({_words(error)}); {self._guess()}"
        )

    def _distrusted(self, error: ssl.SSLCertVerificationError) -> tuple[str, str]:
        code = error.verify_code
        if code in _EXPIRED:
            return "has a certificate that has expired", "have a new certificate issued for it"
        if code in _OTHER_NAME:
            return (
                f"has a certificate for another host name than {self._host}",
                "name the broker in kafka.bootstrap as its certificate does",
            )
        if code in _UNKNOWN_CA:
            trusted = self._kafka.ca_file or "this machine's certificates"
            return f"has a certificate of an authority that is not in {trusted}", "name its authority as kafka.ca_file"
        return f"has a certificate that is not valid ({error.verify_message})", "have it mended"

    def _guess(self) -> str:
        """A broker that does not like what it hears hangs up without a word: what it may have missed."""
        protocol = self._kafka.security_protocol
        if protocol == "SSL":
            missing = "user name and password (SASL_SSL)"
            return f"it may want {missing if self._kafka.certificate_file else 'a client certificate, or ' + missing}"
        return f"it may want another kafka.security_protocol than {protocol}"


def _tls_refusal(reason: str, certificate: bool) -> tuple[str, str]:
    """(problem, remedy) of what the broker says to our side of the handshake; reason: OpenSSL's name for it."""
    if any(sign in reason for sign in ("WRONG_VERSION_NUMBER", "RECORD_LAYER", "EOF")):
        return "does not speak TLS at this port", "set kafka.security_protocol without SSL, or use its TLS port"
    if not certificate and ("CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason):
        return "wants a client certificate", "set kafka.certificate_file and kafka.key_file"
    if certificate and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return (
            f"does not take our client certificate ({reason.lower()})",
            "have kafka.certificate_file issued by an authority that it trusts",
        )
    return f"ends the TLS handshake ({reason.lower()})", "ask who runs it which protocols and ciphers it takes"


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
