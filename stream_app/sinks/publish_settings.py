"""What a publisher does with what it sends, and what it leaves on the topic."""

from __future__ import annotations

from dataclasses import dataclass

from stream_app.versions.signing import Signer


@dataclass(frozen=True)
class PublishSettings:
    """signing_key: PEM file with the Ed25519 private key that signs what is sent; "": nothing is signed.

    keep: how many versions stay on the topic, the newest ones; the pinned one stays besides. 0: all of them.
    """

    signing_key: str = ""
    keep: int = 10

    def __post_init__(self) -> None:
        if self.keep < 0:
            raise ValueError(f"keep: must be 0 (all) or more versions, is {self.keep}")

    def signer(self) -> Signer | None:
        """Who signs. Raises SettingsError when the file holds no such key."""
        return Signer(self.signing_key) if self.signing_key else None
