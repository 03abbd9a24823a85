"""The first thread: takes records in groups, chains them, writes them, and signs now and then."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from .chain import Chain, Slot, free_slot, open_chain
from .files import unwritable
from .inbox import Inbox, Item
from .keeper import Keeper
from .keys import Keys
from .records import body
from .recovery import Position
from .trouble import Trouble

SWEEP_EVERY_S: Final = 3_600.0
SHORTEST_WAIT_S: Final = 0.05


class Rhythm(NamedTuple):
    """How often a checkpoint is signed and a new segment begun."""

    checkpoint_every: int
    checkpoint_seconds: float
    segment_bytes: int
    segment_seconds: float


class Writer:
    """Owns the chain; nothing else appends. A failed write is counted, told to who waits, and tried anew next time."""

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        inbox: Inbox,
        keeper: Keeper,
        trouble: Trouble,
        rhythm: Rhythm,
        now: Callable[[], float],
    ) -> None:
        self.folder = folder
        self.keys = keys
        self.inbox = inbox
        self.keeper = keeper
        self.trouble = trouble
        self.rhythm = rhythm
        self.now = now
        self.slot: Slot | None = None
        self.chain: Chain | None = None
        self.known: tuple[str, Position] | None = None
        self.signed_at = time.monotonic()

    def run(self) -> None:
        try:
            while not (self.inbox.closed and not self.inbox.waiting):
                self.commit(self.inbox.take(self.idle()))
            self.finish()
        finally:
            self.inbox.close()
            self.let_go()
            self.keeper.stop(self.chain)

    def finish(self) -> None:
        try:
            if self.inbox.lost:
                self.append([])
        except OSError as error:
            self.trouble.met("write", error)
        self.sign(force=True)

    def reserve(self) -> None:
        """Before the thread runs: a place that no other process can take any more."""
        if self.slot is None and self.chain is None:
            self.slot = free_slot(self.folder)

    def let_go(self) -> None:
        slot, self.slot = self.slot, None
        if slot is not None:
            os.close(slot.lock)

    def idle(self) -> float:
        if self.chain is None or not self.chain.unsigned:
            return SWEEP_EVERY_S
        return max(SHORTEST_WAIT_S, self.signed_at + self.rhythm.checkpoint_seconds - time.monotonic())

    def commit(self, items: list[Item]) -> None:
        records = [item for item in items if item.body is not None]
        if records:
            try:
                chain, first = self.append([item.body for item in records if item.body is not None])
            except OSError as error:
                self.refuse(records, error)
            else:
                self.trouble.over("write")
                for seq, item in enumerate(records, first):
                    if item.receipt is not None:
                        item.receipt.seq = seq
                self.keeper.wrote(chain, [item.receipt for item in records if item.receipt is not None])
        self.sign(force=False)
        if len(records) < len(items) or not items:
            self.keeper.sweep([item.receipt for item in items if item.body is None and item.receipt is not None])

    def refuse(self, records: list[Item], error: OSError) -> None:
        self.inbox.count_lost(len(records))
        self.trouble.met("write", error)
        for item in records:
            if item.receipt is not None:
                item.receipt.settle(unwritable())

    def append(self, bodies: list[bytes]) -> tuple[Chain, int]:
        chain = self.open()
        lost, cause = self.inbox.lost, self.trouble.causes.get("write")
        told = [body({"log": "lost", "lost": lost, "cause": cause}, self.now())] if lost else []
        last = chain.append([*told, *bodies])
        self.inbox.count_lost(-lost)
        return chain, last - len(bodies) + 1

    def open(self) -> Chain:
        if self.chain is not None and self.chain.lost_files:
            self.known = (self.chain.folder.name, self.chain.at)
            self.chain.release()
            self.chain = None
        if self.chain is None:
            old = self.now() - self.rhythm.segment_seconds
            slot, self.slot = self.slot or free_slot(self.folder), None
            self.chain = open_chain(slot, self.keys, self.now, known=self.known, old=old)
            self.signed_at = time.monotonic()
        return self.chain

    def sign(self, *, force: bool) -> None:
        """Checkpoint by count, by time and at the end; rotate by size and by age."""
        chain = self.chain
        if chain is None or chain.lost_files:
            return
        overdue = time.monotonic() - self.signed_at >= self.rhythm.checkpoint_seconds
        old = self.now() - chain.at.since >= self.rhythm.segment_seconds
        try:
            if chain.at.segment is not None and (chain.at.size >= self.rhythm.segment_bytes or old):
                chain.rotate()
                self.keeper.sweep([])
            elif chain.unsigned and (force or overdue or chain.unsigned >= self.rhythm.checkpoint_every):
                chain.checkpoint()
            else:
                return
        except OSError as error:
            self.trouble.met("write", error)
            return
        self.signed_at = time.monotonic()
        self.keeper.wrote(chain, [])
