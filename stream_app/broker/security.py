"""Secrets and certificates from their files: what is wrong with one is said with the name of its setting."""

from __future__ import annotations

import _ssl
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_app.errors import SettingsError
from stream_app.telemetry import utc, wall_clock

HIDDEN = "***"

_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}


_decoded: Callable[[str], dict[str, Any]] = vars(_ssl)["_test_decode_cert"]
"""Private, and guarded by a test: all of a certificate that Python can read without a package for it."""


def is_secret(key: str) -> bool:
    """Whether what is given under this name may not be shown; a misspelt one counts too."""
    return "passw" in key.lower() and not key.endswith("_file")


def masked(value: Any, key: str = "") -> Any:
    """`value`, which was given under the name `key`, with its secrets hidden, however deep they are in it.

    A private key that was given where its file should be named is one, too.
    """
    if isinstance(value, dict):
        return {name: masked(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, key) for inner in value]
    pasted = isinstance(value, str) and "PRIVATE KEY-----" in value
    return HIDDEN if pasted or (is_secret(key) and value not in (None, "")) else value


@dataclass(frozen=True)
class Certificate:
    """What is needed of a certificate. subject: as Kafka writes it in a principal; expires: seconds since 1970."""

    subject: str
    expires: float


def secret(name: str, value: str, file: str) -> str:
    """A secret: `value`, or what is in `file` without the line end. Raises SettingsError."""
    if not file:
        return value
    text = _readable(f"{name}_file", file).rstrip(b"\r\n")
    if not text:
        raise SettingsError(f"kafka.{name}_file", f"{file} is empty", "write the secret into it")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"kafka.{name}_file", f"{file} is not UTF-8 text", "save it as UTF-8") from error


def tls_context(ca_file: str, certificate_file: str, key_file: str, key_password: str) -> ssl.SSLContext:
    """For a client that checks the broker's certificate and host name; without `ca_file` by what this machine trusts.

    Raises SettingsError naming the file that is missing, unfit or expired.
    """
    if ca_file:
        _readable("ca_file", ca_file)
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise SettingsError("kafka.ca_file", f"{ca_file} holds no certificate in PEM form", "name one") from error
    if certificate_file:
        _readable("key_file", key_file)
        certificate = read_certificate(certificate_file)
        if certificate.expires <= wall_clock():
            raise SettingsError(
                "kafka.certificate_file",
                f"{certificate_file} has expired ({utc(certificate.expires)})",
                "have a new certificate issued",
            )
        try:
            # A function: a key that wants a password, and is given none, would ask for it on the terminal.
            context.load_cert_chain(certificate_file, key_file, lambda: key_password)
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError("kafka.key_file", *_unfit_key(certificate_file, key_file, error)) from error
    return context


def read_certificate(file: str) -> Certificate:
    """The first certificate of a PEM file. Raises SettingsError."""
    _readable("certificate_file", file)
    try:
        facts = _decoded(file)
    except ssl.SSLError as error:
        raise SettingsError("kafka.certificate_file", f"{file} holds no certificate in PEM form", "name one") from error
    parts = [
        "+".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in names)
        for names in reversed(facts["subject"])
    ]
    return Certificate(",".join(parts), float(ssl.cert_time_to_seconds(facts["notAfter"])))


def _escaped(value: str) -> str:
    """As Java's X500Principal writes a value, which is what Kafka compares with."""
    return "".join(f"\\{c}" if c in ',=+<>#;"\\' else c for c in value)


def _unfit_key(certificate_file: str, key_file: str, error: Exception) -> tuple[str, str]:
    reason = getattr(error, "reason", None) or ""
    if "MISMATCH" in reason:
        return f"{key_file} is not the key of {certificate_file}", "name the two files that belong together"
    return (
        f"{key_file} cannot be read as a private key",
        "name a key in PEM form, and its password (kafka.key_password_file) if it has one",
    )


def _readable(name: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"kafka.{name}", f"{file} cannot be read: {error.strerror}", "name a file that this user can read"
        ) from error
