"""How much may be written in an hour: a bound on what a looping model can fill or churn."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

from mcp_bulkhead.errors import Spent

WINDOW_S = 3_600.0
SLOT_S = 60.0


class _Slot(NamedTuple):
    begun: float
    files: int
    bytes: int


class Quota:
    """Files and bytes in the last hour, to the minute; 0 is no bound. Safe to use from several threads."""

    def __init__(self, files: int = 0, bytes_: int = 0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = (files, bytes_)
        self._clock = clock
        self._slots: deque[_Slot] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def spending(self, files: int, bytes_: int) -> Generator[None]:
        """Take it before writing, so that calls at one time cannot share the last of it; give it back on failure."""
        slot = self._take(files, bytes_)
        try:
            yield
        except BaseException:
            self._add(slot, -files, -bytes_)
            raise

    def check(self, files: int, bytes_: int) -> None:
        """Raise if this much could not be written now."""
        with self._lock:
            self._refuse_beyond(files, bytes_)

    def charge(self, files: int, bytes_: int) -> None:
        """Count what has been written already."""
        self._add(self._clock() // SLOT_S * SLOT_S, files, bytes_)

    def _take(self, files: int, bytes_: int) -> float:
        with self._lock:
            self._refuse_beyond(files, bytes_)
        begun = self._clock() // SLOT_S * SLOT_S
        self._add(begun, files, bytes_)
        return begun

    def _add(self, begun: float, files: int, bytes_: int) -> None:
        with self._lock:
            for place, slot in enumerate(self._slots):
                if slot.begun == begun:
                    self._slots[place] = _Slot(begun, slot.files + files, slot.bytes + bytes_)
                    return
            if files > 0 or bytes_ > 0:
                self._slots.append(_Slot(begun, files, bytes_))

    def _refuse_beyond(self, files: int, bytes_: int) -> None:
        now = self._clock()
        while self._slots and self._slots[0].begun + SLOT_S + WINDOW_S <= now:
            self._slots.popleft()
        used = (sum(slot.files for slot in self._slots), sum(slot.bytes for slot in self._slots))
        for most, taken, wanted, what in zip(self._most, used, (files, bytes_), ("files", "bytes"), strict=True):
            if most and taken + wanted > most:
                raise self._spent(most, what, now)

    def _spent(self, most: int, what: str, now: float) -> Spent:
        wait = self._slots[0].begun + SLOT_S + WINDOW_S - now if self._slots else None
        return Spent(
            f"This would be more than the {most:,} {what} that may be written in an hour; nothing was written.",
            code="quota_spent",
            hint="Finish with what there is, and tell the user; the operator can raise the bound.",
            retry_after_s=wait,
            details={"limit": most, "of": what},
        )
