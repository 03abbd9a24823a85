"""The audit log of one server process: every call leaves a record, and an effect leaves it before it happens."""

import errno
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from .files import no_room, unwritable
from .inbox import Inbox, Item, Receipt
from .keeper import Keeper
from .keys import DIGEST_PREFIX, Keys
from .payloads import MAX_PAYLOAD_BYTES
from .records import RESERVED, body, brief, canonical
from .trouble import Trouble
from .writer import Rhythm, Writer

DAY_S: Final = 86_400.0
SEGMENTS_AT_LEAST: Final = 8
DURABLE_WITHIN_S: Final = 10.0
SERVER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


class AuditLog:
    """Appends the records of one process to the first free chain of `directory/server`.

    `append` costs the caller microseconds; its record is in the file within 50 ms, and durable and under a signed head
    within about a second. `append_durable` returns when its record would survive a power cut, and raises when that
    cannot be had: an effect that cannot be recorded must not happen. Nothing is started before `start()`, and no file
    is made before the first record or digest.

    Promised: what `append` took more than 50 ms ago survives the process being killed (once the chain is open).
    Not promised: that nothing was changed by somebody who can read `audit.key`; see `verify`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        server: str,
        retention_days: float = 30,
        segment_bytes: int = 16 << 20,
        segment_seconds: float = DAY_S,
        checkpoint_every: int = 256,
        checkpoint_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
        payloads: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        if not SERVER_NAME.match(server):
            raise ValueError("a server's name is lower-case letters, digits, - and _")
        self.folder = directory.absolute() / server
        self.clock = clock
        self.payloads = payloads
        self.keys = Keys(self.folder)
        self.inbox = Inbox()
        self.trouble = Trouble()
        self.keeper = Keeper(self.folder, retention_days * DAY_S, clock, self.trouble, max_bytes)
        if max_bytes is not None:
            segment_bytes = min(segment_bytes, max_bytes // SEGMENTS_AT_LEAST)  # only what is closed can go
        rhythm = Rhythm(checkpoint_every, checkpoint_seconds, segment_bytes, segment_seconds)
        self.writer = Writer(self.folder, self.keys, self.inbox, self.keeper, self.trouble, rhythm, clock)
        self.threads = (
            threading.Thread(target=self.writer.run, name="audit-writer", daemon=True),
            threading.Thread(target=self.keeper.run, name="audit-keeper", daemon=True),
        )

    def reserve(self) -> None:
        """Take a chain before anything is served; raises `Unavailable` when other processes hold them all.

        A folder that cannot be written is no reason not to serve: reading goes on, and what changes something is
        refused.
        """
        try:
            self.writer.reserve()
        except OSError as error:
            self.trouble.met("write", error)
            if error.errno == errno.ENOLCK:
                raise no_room() from error

    def start(self) -> None:
        for thread in self.threads:
            if thread.ident is None:
                thread.start()

    def close(self, timeout: float = 1.0) -> None:
        """Write what is waiting and a last checkpoint; a dead disk keeps the process no longer than `timeout`."""
        self.inbox.close()
        deadline = time.monotonic() + timeout
        for thread in self.threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to write and to sync succeeded (true before the first)."""
        return not self.trouble.serious

    @property
    def lost(self) -> int:
        """Records that could not be written and are not yet told in the log."""
        return self.inbox.lost

    def append(self, record: Mapping[str, object]) -> None:
        """Take a record; never waits, never fails the call. What cannot be written is counted, and told in the log."""
        self.inbox.put(Item(self._body(record)))

    def append_durable_sync(self, record: Mapping[str, object], timeout: float = DURABLE_WITHIN_S) -> int:
        """Write a record so that it survives a power cut; returns its number, or raises `Unavailable`."""
        receipt = Receipt()
        self._put_durable(record, receipt)
        if not receipt.done.wait(timeout):
            raise unwritable()
        return _outcome(receipt)

    async def append_durable(self, record: Mapping[str, object], timeout: float = DURABLE_WITHIN_S) -> int:  # noqa: ASYNC109 - the sync twin has it
        """`append_durable_sync` for the event loop: it waits without a thread of its own.

        Cancelling the wait does not take the record back; a caller that goes away after its intent owes an outcome.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is gone, and whoever waited with it
                loop.call_soon_threadsafe(done.set)

        receipt = Receipt(wake)
        self._put_durable(record, receipt)
        try:
            await asyncio.wait_for(done.wait(), timeout)
        except TimeoutError:
            raise unwritable() from None
        return _outcome(receipt)

    def digest(self, value: object) -> str:
        """Names a value without showing it: for arguments, and for targets that are personal."""
        return self.keys.digest(value)

    def keep_payload(self, value: object) -> str:
        """The value's digest; with `payloads` on, the value itself is kept too, in a private file of that name."""
        digest = self.digest(value)
        if self.payloads and digest.startswith(DIGEST_PREFIX):
            data = canonical(value).encode("ascii")
            if len(data) <= MAX_PAYLOAD_BYTES:
                self.keeper.keep(digest.removeprefix(DIGEST_PREFIX), data)
        return digest

    def sweep(self, timeout: float = 5.0) -> bool:
        """Rotate and expire now what is due (it happens by itself at start, on rotation and every hour)."""
        receipt = Receipt()
        return self.inbox.put(Item(None, receipt)) and receipt.done.wait(timeout)

    def _body(self, record: Mapping[str, object]) -> bytes:
        if not RESERVED.isdisjoint(record):
            raise ValueError(f"{sorted(RESERVED)} belong to the log")
        return body(brief(record), self.clock())

    def _put_durable(self, record: Mapping[str, object], receipt: Receipt) -> None:
        if not self.inbox.put(Item(self._body(record), receipt)):
            raise unwritable()


def _outcome(receipt: Receipt) -> int:
    if receipt.failure is not None:
        raise receipt.failure
    return receipt.seq
