"""What a publisher does with what it sends."""

from __future__ import annotations

from dataclasses import dataclass

from stream_app.versions.signing import Signer


@dataclass(frozen=True)
class PublishSettings:
    """signing_key: PEM file with the Ed25519 private key that signs what is sent; "": nothing is signed."""

    signing_key: str = ""

    def signer(self) -> Signer | None:
        """Who signs. Raises SettingsError when the file holds no such key."""
        return Signer(self.signing_key) if self.signing_key else None
