"""What a server keeps between calls: small values under names, with lifetimes, shared by its workers.

Every operation is atomic by itself, and there is none over two names: whatever stands on a store must be right when
the process dies between any two of them. Lifetimes run by the store's own clock. So the same few operations fit a
dictionary, an SQLite file that the processes of one machine share (`sqlite.py`), and a server for several machines.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from ..errors import Unavailable

MAX_KEY_CHARS: Final = 512
MAX_VALUE_BYTES: Final = 1 << 20
MAX_SCAN: Final = 1_000
MAX_ENTRIES: Final = 100_000
SWEEP_EVERY: Final = 1_024


class Store(Protocol):
    """Names are ASCII. Every operation may raise `Unavailable`, and then it may or may not have happened."""

    async def get(self, key: str) -> bytes | None:
        """What is there, unless its time is over."""
        ...

    async def add(self, key: str, value: bytes, *, ttl_s: float, durable: bool = False) -> bytes | None:
        """Put `value` where nothing is: None when it was put, else what is there.

        `durable`: it survives a power cut once this returns. Without, it still survives the process.
        """
        ...

    async def swap(self, key: str, old: bytes, new: bytes, *, ttl_s: float, durable: bool = False) -> bool:
        """Put `new`, with a new lifetime, where `old` is; False, and nothing changed, when it is not there."""
        ...

    async def touch(self, key: str, *, ttl_s: float) -> bool:
        """A new lifetime for what is there; False when nothing is."""
        ...

    async def delete(self, key: str, *, only: bytes | None = None) -> bool:
        """Take away what is there (or `only` that value); False when there was no such thing."""
        ...

    async def scan(self, prefix: str, *, limit: int) -> list[tuple[str, bytes]]:
        """At most `limit` entries whose names begin so, in no promised order."""
        ...

    def close(self, timeout_s: float = 1.0) -> None:
        """Finish what was begun, within `timeout_s`."""
        ...


class MemoryStore:
    """For one process: tests, and servers whose state need not survive them. Nothing that lives is ever evicted."""

    def __init__(self, *, clock: Callable[[], float] = time.time, max_entries: int = MAX_ENTRIES) -> None:
        self.clock = clock
        self.max_entries = max_entries
        self.entries: dict[str, tuple[bytes, float]] = {}
        self.lock = threading.Lock()
        self.writes = 0

    async def get(self, key: str) -> bytes | None:
        with self.lock:
            return self._living(key)

    async def add(self, key: str, value: bytes, *, ttl_s: float, durable: bool = False) -> bytes | None:  # noqa: ARG002
        check(key, value)
        with self.lock:
            present = self._living(key)
            if present is None:
                self._make_room()
                self.entries[key] = (value, self.clock() + ttl_s)
            return present

    async def swap(self, key: str, old: bytes, new: bytes, *, ttl_s: float, durable: bool = False) -> bool:  # noqa: ARG002
        check(key, new)
        with self.lock:
            if self._living(key) != old:
                return False
            self.entries[key] = (new, self.clock() + ttl_s)
            return True

    async def touch(self, key: str, *, ttl_s: float) -> bool:
        with self.lock:
            present = self._living(key)
            if present is None:
                return False
            self.entries[key] = (present, self.clock() + ttl_s)
            return True

    async def delete(self, key: str, *, only: bytes | None = None) -> bool:
        with self.lock:
            present = self._living(key)
            if present is None or only not in (None, present):
                return False
            del self.entries[key]
            return True

    async def scan(self, prefix: str, *, limit: int) -> list[tuple[str, bytes]]:
        check_limit(limit)
        with self.lock:
            now = self.clock()
            found = (
                (key, value) for key, (value, ends) in self.entries.items() if key.startswith(prefix) and ends > now
            )
            return [entry for entry, _ in zip(found, range(limit), strict=False)]

    def close(self, timeout_s: float = 1.0) -> None:  # noqa: ARG002
        with self.lock:
            self.entries.clear()

    def _living(self, key: str) -> bytes | None:
        value, ends = self.entries.get(key, (None, 0.0))
        return value if ends > self.clock() else None

    def _make_room(self) -> None:
        self.writes += 1
        if self.writes % SWEEP_EVERY and len(self.entries) < self.max_entries:
            return
        now = self.clock()
        for key in [key for key, (_, ends) in self.entries.items() if ends <= now]:
            del self.entries[key]
        if len(self.entries) >= self.max_entries:
            raise unavailable()


def check(key: str, value: bytes) -> None:
    if not key.isascii() or not 0 < len(key) <= MAX_KEY_CHARS:
        raise ValueError(f"a name in the store is 1 to {MAX_KEY_CHARS} ASCII characters")
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(f"a value in the store is at most {MAX_VALUE_BYTES} bytes")


def check_limit(limit: int) -> None:
    if not 0 < limit <= MAX_SCAN:
        raise ValueError(f"a scan returns 1 to {MAX_SCAN} entries")


def unavailable() -> Unavailable:
    """What a caller reads when the state cannot be had. The place and the system's words stay in the log."""
    return Unavailable(
        "What the server keeps between calls cannot be read or written, so nothing that needs it was begun.",
        hint="Other tools still work. Try again shortly; if it stays, an operator must look at the state directory.",
        code="store_unavailable",
        retry_after_s=2.0,
    )
