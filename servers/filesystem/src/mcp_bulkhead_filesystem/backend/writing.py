"""The write side of the file system, for the tools to call: changes in threads of their own, one at a time per path."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mcp_bulkhead.errors import TimedOut, Unavailable
from mcp_bulkhead.guards.paths import Roots

from .changes import MAX_FILE_BYTES, Change, Changes, Relocation, Removal
from .editing import Edit
from .locks import Turns
from .quotas import Quota
from .workers import Job, Lane, Stopped, Workers

T = TypeVar("T")


class Writes:
    """Edits, writes, moves and deletions. Calls on one path take turns without holding a thread while they wait."""

    def __init__(
        self,
        roots: Roots,
        workers: Workers,
        *,
        fsync: bool = True,
        keep_hard_links: bool = False,
        files_per_hour: int = 0,
        bytes_per_hour: int = 0,
        deadline_s: float = 20.0,
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        self._roots = roots
        self._workers = workers
        self._deadline_s = deadline_s
        self._turns = Turns()
        self._changes = Changes(
            roots,
            fsync=fsync,
            keep_hard_links=keep_hard_links,
            quota=Quota(files_per_hour, bytes_per_hour),
            patience_s=deadline_s / 2,
            max_file_bytes=max_file_bytes,
        )

    async def edit(self, path: str, edits: Sequence[Edit], *, etag: str | None = None, dry_run: bool = False) -> Change:
        """Replace pieces of text in one file: all or none."""
        return await self._in_turn(
            path, lambda job: self._changes.edit(path, edits, etag=etag, dry_run=dry_run, job=job)
        )

    async def write(
        self,
        path: str,
        content: str,
        *,
        mode: str = "create",
        is_base64: bool = False,
        etag: str | None = None,
        create_parents: bool = False,
        dry_run: bool = False,
    ) -> Change:
        """Write a whole file, or append to one."""

        def work(job: Job) -> Change:
            return self._changes.write(
                path,
                content,
                mode=mode,
                is_base64=is_base64,
                etag=etag,
                create_parents=create_parents,
                dry_run=dry_run,
                job=job,
            )

        return await self._in_turn(path, work)

    async def mkdir(self, path: str, *, parents: bool = True, dry_run: bool = False) -> Change:
        """Create a folder."""
        return await self._run(Lane.SHORT, lambda _: self._changes.mkdir(path, parents=parents, dry_run=dry_run))

    async def move(
        self, src: str, dst: str, *, copy: bool = False, replace: bool = False, dry_run: bool = False
    ) -> Relocation:
        """Move, or copy, a file or a folder."""
        act = self._changes.copy if copy else self._changes.move
        return await self._run(Lane.LONG, lambda job: act(src, dst, replace_it=replace, dry_run=dry_run, job=job))

    async def look(self, path: str) -> Removal:
        """What deleting this would take; its digest holds `delete` to it."""
        return await self._run(Lane.LONG, lambda job: self._changes.look(path, job))

    async def delete(
        self, path: str, *, recursive: bool = False, trash: bool = True, digest: str | None = None
    ) -> Removal:
        """Delete a file, a link or a folder, into the trash unless told otherwise."""
        return await self._run(
            Lane.LONG,
            lambda job: self._changes.delete(path, recursive=recursive, trash=trash, digest=digest, job=job),
        )

    async def _in_turn(self, path: str, work: Callable[[Job], T]) -> T:
        place = self._roots.locate(path)
        async with self._turns.turn((place.root.real_path, place.rel), self._deadline_s):
            return await self._run(Lane.SHORT, work)

    async def _run(self, lane: Lane, work: Callable[[Job], T]) -> T:
        try:
            return await self._workers.run(lane, work, deadline_s=self._deadline_s)
        except Stopped as stopped:
            raise Unavailable("The server is shutting down.", retryable=False) from stopped
        except TimedOut as late:
            raise TimedOut(
                "The storage did not answer in time. Whether the change was made is not known.",
                retryable=False,
                hint="Read the place again before you repeat anything.",
            ) from late
        except OSError as error:
            raise Unavailable(
                "The storage behind this path does not answer as it should.",
                hint="Read the place again before you repeat anything.",
            ) from error
