"""One connection to one private SQLite file, used by one thread: it says what failed, and never pretends."""

import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..audit.files import open_file, private_folder, sync_folder

if TYPE_CHECKING:
    import sqlite3

FORMAT: Final = 1
PURGE_EVERY_S: Final = 30.0
PURGE_AT_ONCE: Final = 2_000
PURGE: Final = "delete from entries where key in (select key from entries where ends <= ? limit ?)"
SCHEMA: Final = (
    "create table if not exists entries (key text primary key, value blob not null, ends real not null) without rowid",
    "create index if not exists entries_by_end on entries (ends)",
    f"pragma user_version = {FORMAT}",
)
log = logging.getLogger("mcp_bulkhead.state")


class Act(NamedTuple):
    """What to do with the connection at a moment of the store's clock."""

    run: "Callable[[sqlite3.Connection, float], Any]"
    writes: bool = False
    durable: bool = False


def purge(connection: "sqlite3.Connection", now: float) -> int:
    return connection.execute(PURGE, (now, PURGE_AT_ONCE)).rowcount


class Database:
    """Opens when it is needed, and again after trouble. A file taken away under it is said once, not passed over."""

    def __init__(self, path: Path, *, clock: Callable[[], float], fsync: bool, busy_s: float, max_bytes: int) -> None:
        self.path = path.absolute()
        self.clock = clock
        self.fsync = fsync
        self.busy_s = busy_s
        self.max_bytes = max_bytes
        self.connection: sqlite3.Connection | None = None
        self.identity: tuple[int, int] | None = None
        self.level = ""
        self.purged_at = 0.0
        self.cause: str | None = None

    def run(self, acts: Sequence[Act]) -> list[Any] | None:
        """The answers of `acts`, done together or not at all; None when they could not be done (the log says why)."""
        import sqlite3

        try:
            if any(act.writes for act in acts) and time.monotonic() - self.purged_at > PURGE_EVERY_S:
                self._purge()
            answers = self._with_room(acts)
        except (sqlite3.Error, OSError) as error:
            self._met(error)
            return None
        self.cause = None
        return answers

    def close(self) -> None:
        import sqlite3

        if self.connection is not None:
            with suppress(sqlite3.Error):
                self.connection.close()
        self.connection = None

    def _with_room(self, acts: Sequence[Act]) -> list[Any]:
        import sqlite3

        try:
            return self._together(acts)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL or not self._purge():
                raise
            return self._together(acts)

    def _together(self, acts: Sequence[Act]) -> list[Any]:
        import sqlite3

        connection = self._open()
        self._sync(self.fsync and any(act.durable for act in acts))
        connection.execute("begin immediate" if any(act.writes for act in acts) else "begin")
        try:
            now = self.clock()
            answers = [act.run(connection, now) for act in acts]
            connection.execute("commit")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("rollback")
            raise
        return answers

    def _purge(self) -> int:
        """Clear what is over, a bounded number at a time; how many went."""
        self.purged_at = time.monotonic()
        return self._together([Act(purge, writes=True)])[0]

    def _sync(self, durable: bool) -> None:
        level = "full" if durable else "normal" if self.fsync else "off"
        if level != self.level and self.connection is not None:
            self.connection.execute(f"pragma synchronous = {level}")
            self.level = level

    def _met(self, error: "sqlite3.Error | OSError") -> None:
        import sqlite3

        passing = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or code & 0xFF not in passing:
            self.close()
        cause = f"{type(error).__name__}: {error}"
        if cause != self.cause:
            self.cause = cause
            log.error("the state in %s cannot be used: %s", self.path, cause)

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self) -> "sqlite3.Connection":
        if self.connection is not None:
            found = self.path.stat()
            if (found.st_dev, found.st_ino) != self.identity:
                raise OSError(errno.ESTALE, "the file was replaced under a running process", str(self.path))
            return self.connection
        self._make_private()
        connection = self._connect()
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        found = self.path.stat()
        self.identity, self.level = (found.st_dev, found.st_ino), ""
        self.connection = connection
        return connection

    def _connect(self) -> "sqlite3.Connection":
        import sqlite3

        return sqlite3.connect(self.path, timeout=self.busy_s, isolation_level=None)

    def _prepare(self, connection: "sqlite3.Connection") -> None:
        self._turn_on_wal(connection)
        connection.execute("pragma fullfsync = on")  # macOS: its fsync alone stops at the drive's cache
        page = connection.execute("pragma page_size").fetchone()[0]
        connection.execute(f"pragma max_page_count = {max(16, self.max_bytes // page)}")
        found = connection.execute("pragma user_version").fetchone()[0]
        if found == FORMAT:
            return
        if found > FORMAT:
            raise OSError(errno.EINVAL, f"written by a later version (format {found})", str(self.path))
        connection.execute("begin immediate")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute("commit")

    def _turn_on_wal(self, connection: "sqlite3.Connection") -> None:
        """Two processes that open a new file at once: this one step does not wait for the lock by itself."""
        import sqlite3

        deadline = time.monotonic() + self.busy_s
        while True:
            try:
                connection.execute("pragma journal_mode = wal")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                return

    def _make_private(self) -> None:
        """A new file is 0600 before SQLite sees it; its log and index files get the same. Links are not followed."""
        private_folder(self.path.parent)
        try:
            os.close(open_file(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
            sync_folder(self.path.parent)
        except FileExistsError:
            for path in (self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))):
                make_private(path)


def make_private(path: Path) -> None:
    # Never opened here: closing a descriptor would drop the locks another connection of this process holds (POSIX).
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o600)
