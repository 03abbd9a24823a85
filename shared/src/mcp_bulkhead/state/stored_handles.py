"""Handles on values (the place of a long export, a draft): kept in the store, so that any worker can go on with them.

Each caller has as many places as its quota, each one name in the store: a full house is full for all workers alike,
with no count that could be wrong.
"""

import json
from typing import Any, Final

from .handle_tokens import HandleTokens, Token, expired
from .handles import over_quota
from .owner import Owner, owned
from .store import MAX_SCAN, Store, unavailable

MAX_VALUE_BYTES: Final = 64 << 10


class StoredHandles:
    """The handles of one kind on JSON values, each good for the caller it was made for, until its time is over."""

    def __init__(self, kind: str, key: bytes, store: Store, *, per_caller: int = 16) -> None:
        if not 0 < per_caller <= MAX_SCAN:
            raise ValueError(f"a caller may hold 1 to {MAX_SCAN} handles")
        self.tokens = HandleTokens(kind, key)
        self.store = store
        self.per_caller = per_caller

    async def open(self, owner: Owner, value: Any, *, ttl_s: float, sliding: bool = False) -> str:
        """A handle on `value`, for `ttl_s` seconds from now, or from each use when `sliding`."""
        taken = await self._taken(owner)
        for slot in range(self.per_caller if len(taken) < self.per_caller else 0):
            place = self._place(owner, slot)
            if place in taken:
                continue
            handle, token = self.tokens.make(owner, slot)
            sealed = seal(token, value, ttl_s if sliding else None)
            if await self.store.add(place, sealed, ttl_s=ttl_s) is None:
                return handle
        raise over_quota(self.tokens.kind, owner, self.per_caller, self.per_caller)

    async def read(self, owner: Owner, handle: str) -> Any:
        """The value behind `handle`; a sliding time begins anew."""
        token = self.tokens.open(owner, handle)
        _, value, ttl_s = await self._find(owner, token)
        if ttl_s is not None:
            await self.store.touch(self._place(owner, token.slot), ttl_s=ttl_s)
        return value

    async def close(self, owner: Owner, handle: str) -> None:
        token = self.tokens.open(owner, handle)
        sealed, _, _ = await self._find(owner, token)
        await self.store.delete(self._place(owner, token.slot), only=sealed)

    async def held_by(self, owner: Owner) -> int:
        return len(await self._taken(owner))

    async def live(self) -> int:
        """How many there are, for a gauge; counted up to a thousand."""
        return len(await self.store.scan(f"handle/{self.tokens.kind}/", limit=MAX_SCAN))

    async def _find(self, owner: Owner, token: Token) -> tuple[bytes, Any, float | None]:
        sealed = await self.store.get(self._place(owner, token.slot))
        if sealed is not None:
            name, value, ttl_s = opened(sealed)
            if name == token.name:
                return sealed, value, ttl_s
        raise expired(self.tokens.kind)

    async def _taken(self, owner: Owner) -> set[str]:
        return {key for key, _ in await self.store.scan(self._place(owner), limit=self.per_caller)}

    def _place(self, owner: Owner, slot: int | None = None) -> str:
        return f"handle/{self.tokens.kind}/{owned(owner)}/" + ("" if slot is None else str(slot))


def seal(token: Token, value: Any, ttl_s: float | None) -> bytes:
    sealed = json.dumps([token.name, value, ttl_s], separators=(",", ":"), ensure_ascii=True).encode("ascii")
    if len(sealed) > MAX_VALUE_BYTES:
        raise ValueError(f"a stored handle keeps at most {MAX_VALUE_BYTES} bytes")
    return sealed


def opened(sealed: bytes) -> tuple[str, Any, float | None]:
    try:
        match json.loads(sealed):
            case [str(name), value, None | int() | float() as ttl_s]:
                return name, value, ttl_s
            case _:
                raise unavailable()
    except ValueError as error:
        raise unavailable() from error
