"""Where callers leave their records, and where the writer picks them up in groups."""

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ..errors import Failure

GATHER_S: Final = 0.02
"""How long a record waits for company before it is written: the larger part of what a killed process can lose."""
MAX_WAITING: Final = 50_000


class Receipt:
    """For whoever waits until a record is safe, or until it is clear that it will not be."""

    def __init__(self, notify: Callable[[], None] | None = None) -> None:
        self.done = threading.Event()
        self.notify = notify
        self.seq = 0
        self.failure: Failure | None = None

    def settle(self, failure: Failure | None = None) -> None:
        self.failure = failure
        self.done.set()
        if self.notify is not None:
            self.notify()


class Item(NamedTuple):
    """A record on its way. Without a body it only asks the writer to rotate what is due."""

    body: bytes | None
    receipt: Receipt | None = None


class Inbox:
    """A bounded queue with group pick-up. What does not fit, or comes after the end, is counted as lost."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting: list[Item] = []
        self.urgent = False
        self.closed = False
        self.lost = 0

    def put(self, item: Item) -> bool:
        with self.changed:
            if self.closed or len(self.waiting) >= MAX_WAITING:
                self.lost += 1
                return False
            self.waiting.append(item)
            if item.receipt is not None:
                self.urgent = True
            if len(self.waiting) == 1 or item.receipt is not None:
                self.changed.notify()
            return True

    def take(self, idle_s: float) -> list[Item]:
        """The next group; empty after `idle_s` without any, or when closed and drained."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed, idle_s)
            if self.waiting:
                deadline = time.monotonic() + GATHER_S
                self.changed.wait_for(lambda: self.urgent or self.closed, deadline - time.monotonic())
            items, self.waiting, self.urgent = self.waiting, [], False
            return items

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def count_lost(self, number: int) -> None:
        with self.changed:
            self.lost += number
