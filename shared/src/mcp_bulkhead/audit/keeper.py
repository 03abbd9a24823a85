"""The second thread: makes written records durable, signs how far the log reaches, and clears what is too old.

It exists so that a slow disk delays only those who asked for durability: the writer never waits for an fsync.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .chain import Chain
from .files import unwritable
from .inbox import Receipt
from .payloads import drop_oldest, expire_payloads, size_of_payloads, write_payload
from .retention import expire, size_of_segments
from .trouble import Trouble

SYNC_S: Final = 1.0
"""Records nobody waits for are made durable and put under the signed head at the latest after this."""
MAX_PAYLOADS: Final = 256
SWEEP_PART: Final = 8
"""New payloads of this part of what the log may take up are a reason to look at once."""


class Keeper:
    """Works for one writer; everything it is told arrives under one condition."""

    def __init__(
        self,
        folder: Path,
        retention_s: float,
        clock: Callable[[], float],
        trouble: Trouble,
        max_bytes: int | None = None,
    ) -> None:
        self.folder = folder
        self.retention_s = retention_s
        self.clock = clock
        self.trouble = trouble
        self.max_bytes = max_bytes
        self.unswept = 0
        self.changed = threading.Condition()
        self.chain: Chain | None = None
        self.receipts: list[Receipt] = []
        self.payloads: list[tuple[str, bytes]] = []
        self.sweeps: list[Receipt] = []
        self.sweep_due = False
        self.sync_at: float | None = None
        self.stopping = False

    def wrote(self, chain: Chain, receipts: list[Receipt]) -> None:
        """The writer appended to `chain`; these receipts wait for it to be durable."""
        with self.changed:
            self.sweep_due |= chain is not self.chain
            self.chain = chain
            self.receipts += receipts
            if self.sync_at is None:
                self.sync_at = time.monotonic() + SYNC_S
            if receipts or self.sweep_due:
                self.changed.notify()

    def sweep(self, receipts: list[Receipt]) -> None:
        with self.changed:
            self.sweeps += receipts
            self.sweep_due = True
            self.changed.notify()

    def keep(self, name: str, data: bytes) -> bool:
        with self.changed:
            if self.stopping or len(self.payloads) >= MAX_PAYLOADS:
                return False
            self.payloads.append((name, data))
            self.unswept += len(data)
            self.sweep_due |= self.max_bytes is not None and self.unswept > self.max_bytes // SWEEP_PART
            self.changed.notify()
            return True

    def stop(self, chain: Chain | None) -> None:
        with self.changed:
            self.stopping = True
            self.chain = chain
            self.changed.notify()

    def run(self) -> None:
        while self.wait():
            self.work()
        self.work()
        if self.chain is not None:
            self.chain.release()

    def wait(self) -> bool:
        with self.changed:
            left = None if self.sync_at is None else max(0.0, self.sync_at - time.monotonic())
            self.changed.wait_for(self.pending, left)
            return not self.stopping

    def pending(self) -> bool:
        return bool(self.stopping or self.receipts or self.payloads or self.sweeps or self.sweep_due)

    def work(self) -> None:
        with self.changed:
            receipts, self.receipts = self.receipts, []
            payloads, self.payloads = self.payloads, []
            sweeps, self.sweeps = self.sweeps, []
            sweep_due, self.sweep_due = self.sweep_due, False
            self.unswept = 0 if sweep_due else self.unswept
            chain, self.sync_at = self.chain, None
        if chain is not None:
            self.sync(chain, receipts)
        for name, data in payloads:
            self.attempt(lambda name=name, data=data: write_payload(self.folder, name, data, self.clock()))
        if sweep_due and not self.stopping:
            self.attempt(lambda: self.clear(chain))
        for sweep in sweeps:
            sweep.settle()

    def sync(self, chain: Chain, receipts: list[Receipt]) -> None:
        """Durable first, then whoever waits is told, then the head is signed."""
        try:
            reached = chain.snapshot()
            chain.sync(reached)
        except OSError as error:
            self.trouble.met("sync", error)
            for receipt in receipts:
                receipt.settle(unwritable())
            return
        self.trouble.over("sync")
        for receipt in receipts:
            receipt.settle()
        self.attempt(lambda: chain.seal_head(reached.seq, reached.hash))

    def clear(self, chain: Chain | None) -> None:
        before = self.clock() - self.retention_s
        expire_payloads(self.folder, before)
        excess = drop_oldest(self.folder, self.excess())
        if chain is not None:
            expire(chain, before, lambda: self.stopping, excess)

    def excess(self) -> int:
        """How many bytes the log is over what it may take up."""
        if self.max_bytes is None or not self.folder.is_dir():
            return 0
        return size_of_payloads(self.folder) + size_of_segments(self.folder) - self.max_bytes

    def attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            self.trouble.met("upkeep", error)
        else:
            self.trouble.over("upkeep")
