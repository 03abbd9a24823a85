"""What a handle looks like from outside: random, and sealed for one caller.

The seal tells, without keeping anything about handles that are gone, one that this caller once had (it has expired)
from one that was made up or belongs to somebody else; these two look exactly alike.
"""

import base64
import hashlib
import hmac
import re
from secrets import token_bytes
from typing import Final, NamedTuple

from ..errors import Missing
from .owner import Owner, owned

RANDOM_BYTES: Final = 16
SLOT_BYTES: Final = 2
MAC_BYTES: Final = 12
KIND: Final = re.compile(r"[a-z]{1,16}\Z")
BODY: Final = re.compile(r"[A-Za-z0-9_-]{40}\Z", re.ASCII)


class Token(NamedTuple):
    """The inside of a handle."""

    secret: bytes
    slot: int

    @property
    def name(self) -> str:
        return self.secret.hex()


class HandleTokens:
    """Makes and opens the handles of one kind: `tab_q8Jx...`, 40 characters after the kind."""

    def __init__(self, kind: str, key: bytes) -> None:
        if not KIND.match(kind):
            raise ValueError("the kind of a handle is 1 to 16 lower-case letters")
        self.kind = kind
        self.key = hashlib.blake2b(key, digest_size=32, person=b"bulkhead-handle").digest()

    def make(self, owner: Owner, slot: int = 0) -> tuple[str, Token]:
        token = Token(token_bytes(RANDOM_BYTES), slot)
        raw = token.secret + slot.to_bytes(SLOT_BYTES, "big")
        return f"{self.kind}_{base64.urlsafe_b64encode(raw + self.mac(owner, raw)).decode()}", token

    def open(self, owner: Owner, handle: str) -> Token:
        """The inside of a handle that was made for `owner`, or `handle_unknown`."""
        kind, _, body = handle.partition("_")
        if kind != self.kind or not BODY.match(body):
            raise unknown(self.kind)
        raw = base64.urlsafe_b64decode(body)
        sealed, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        if not hmac.compare_digest(mac, self.mac(owner, sealed)):
            raise unknown(self.kind)
        return Token(sealed[:RANDOM_BYTES], int.from_bytes(sealed[RANDOM_BYTES:], "big"))

    def mac(self, owner: Owner, raw: bytes) -> bytes:
        bound = owned(owner, self.kind, raw.hex()).encode("ascii")
        return hmac.digest(self.key, bound, "sha256")[:MAC_BYTES]


def unknown(kind: str) -> Missing:
    return Missing(
        f"There is no such {kind} handle.",
        code="handle_unknown",
        hint=f"Use a {kind} handle exactly as an earlier answer gave it, or make a new one.",
    )


def expired(kind: str) -> Missing:
    return Missing(
        f"This {kind} handle has expired or was closed.",
        code="handle_expired",
        hint=f"Make a new {kind} handle and go on from there.",
    )
