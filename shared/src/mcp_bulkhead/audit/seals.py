"""Signatures: what signs, what is signed, and reading the small signed files beside a chain."""

import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from .files import read_small
from .records import SIGNATURE, parse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DOMAIN: Final = b"mcp-bulkhead audit v1\n"
"""Signed in front of everything: a signature made for something else does not count here."""

PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
READ_PAUSES_S: Final = (0.0, 0.002, 0.02)
Seal = Literal["good", "forged", "unknown_key"]
SignedState = Literal["absent", "good", "forged", "unknown_key"]


class PublicKeys:
    """What signatures are checked against; several keys may have signed one log over its life."""

    def __init__(self, known: "dict[str, Ed25519PublicKey]") -> None:
        self.known = known

    @classmethod
    def beside(cls, folder: Path) -> "PublicKeys":
        """The keys of a server: its own, and retired ones kept under another name."""
        return cls.of(*sorted(folder.glob("*.pub")))

    @classmethod
    def of(cls, *paths: Path) -> "PublicKeys":
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        known: dict[str, Ed25519PublicKey] = {}
        for pem in (pem for path in paths for pem in PEM.findall(read_small(path))):
            try:
                key = load_pem_public_key(pem)
            except (ValueError, UnsupportedAlgorithm):
                continue
            if isinstance(key, Ed25519PublicKey):
                known[key_id(key)] = key
        return cls(known)

    def check(self, raw: bytes, record: dict[str, Any] | None) -> Seal:
        from cryptography.exceptions import InvalidSignature

        found = SIGNATURE.search(raw)
        if found is None or record is None:
            return "forged"
        key = self.known.get(str(record.get("key")))
        if key is None:
            return "unknown_key"
        try:
            key.verify(bytes.fromhex(found[1].decode()), DOMAIN + raw[: found.start()] + b"}")
        except InvalidSignature:
            return "forged"
        return "good"


def read_signed(path: Path, public: PublicKeys, log: str) -> tuple[SignedState, dict[str, Any]]:
    """A one-line signed file: the head, the tombstone, the list of chains. Read again when it may be in the writing."""
    state: SignedState = "forged"
    for pause in READ_PAUSES_S:
        time.sleep(pause)
        try:
            raw = read_small(path).rstrip(b" \n")
        except FileNotFoundError:
            return "absent", {}
        except OSError:
            return "forged", {}
        record = parse(raw)
        state = public.check(raw, record)
        if state == "good" and record is not None and record.get("log") == log:
            return "good", record
    return ("unknown_key" if state == "unknown_key" else "forged"), {}


def key_id(key: "Ed25519PublicKey") -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]
