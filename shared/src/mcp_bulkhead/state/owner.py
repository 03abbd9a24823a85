"""Who something is kept for: what one caller keeps, no other caller can name, see or disturb."""

import hashlib
import json
from typing import Protocol


class Owner(Protocol):
    """A caller as far as the state needs it (`pipeline.call.Caller` is one)."""

    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> str: ...


def owned(owner: Owner, *parts: str) -> str:
    """One name per tenant, caller and parts. Hashed: nobody's name or key can run into another's, or be read here."""
    return digest(owner.tenant, owner.id, *parts)


def digest(*parts: str) -> str:
    spelled = json.dumps(parts, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(spelled.encode("ascii")).hexdigest()
