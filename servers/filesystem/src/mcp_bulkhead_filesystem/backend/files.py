"""The one class that talks to the file system, for the tools to call."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from secrets import token_bytes
from typing import Any, Self, TypeVar

from mcp_bulkhead.errors import Failure, Invalid, TooLarge, Unavailable
from mcp_bulkhead.guards.paths import Kind, OpenedFile, Place, RootFS, Roots

from .answers import Found, Grepped, Listing, OpenedResource, Piece
from .engines import engine_for
from .finding import Finding
from .globs import Glob
from .grepping import Grepping, Mode
from .hits import Report
from .ignore import GIT
from .lines import KnownFiles
from .listing import Tree, file_line, list_folder, list_roots
from .media import MAGIC_BYTES, text_type_of, type_of
from .names import first_that_exists, uri_of, visible
from .paging import Allowance
from .reading import MAX_LINES, Reading, whole
from .walking import Position, Start, starts
from .wanting import Want
from .workers import Job, Lane, Progress, Stopped, Workers

T = TypeVar("T")

NOTES_ROOM = 500
"""Characters of an answer that are kept for its notes and its continuation."""
MAX_DEPTH = 20
MAX_CONTEXT = 10


class Files:
    """Reading, listing and searching below the opened roots. Everything blocking happens in its own threads."""

    def __init__(
        self,
        roots: Roots,
        *,
        threads: int = 8,
        deadline_s: float = 20.0,
        respect_gitignore: bool = True,
        max_media_bytes: int = 5_000_000,
    ) -> None:
        self.roots = roots
        self.workers = Workers(threads)
        self._deadline_s = deadline_s
        self._respect_gitignore = respect_gitignore
        self._max_media_bytes = max_media_bytes
        self._known = KnownFiles()
        self._secret = token_bytes(16)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    async def check(self) -> dict[str, Any]:
        """Look into every root; what a person wants to know of each."""

        def work(job: Job) -> dict[str, Any]:
            facts: dict[str, Any] = {}
            for root in self.roots:
                job.check()
                root.open_dir("").close()
                mode = "rw" if root.writable else "ro"
                facts[f"root {root.name}"] = f"{root.path} ({mode}, {root.method})"
                if not root.is_current():
                    raise Unavailable("A root was replaced since the start.", hint="Restart the server.")
            return facts

        return await self._run(Lane.SHORT, work)

    def mark(self, text: str) -> str:
        """A mark for this very text: the same for the same text, and nothing that a file in it could foresee."""
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=4).hexdigest()

    def uri_of(self, root: RootFS) -> str:
        """The address of a root as a resource."""
        return uri_of(root, "")

    async def read(
        self, wants: Sequence[Want], *, start: int | None, lines: int | None, numbers: bool, budget: int
    ) -> list[Piece]:
        """Pages of files, in the order asked for."""

        def work(job: Job) -> list[Piece]:
            most = MAX_LINES if lines is None else max(1, min(lines, MAX_LINES))
            allowance = Allowance(budget, most, budget)
            media = self._max_media_bytes
            return Reading(self.roots, self._known, start, numbers, allowance, media, media, job).run(wants)

        return await self._run(Lane.SHORT, work)

    async def list(
        self, path: str | None, *, depth: int, ignored: bool, limit: int, after: Any | None, budget: int
    ) -> Listing:
        """A folder's tree, a file's facts, or the roots."""
        position = None if after is None else Position.of_json(after)

        def work(job: Job) -> Listing:
            listing = Listing()
            room = budget - NOTES_ROOM
            if path is None and len(self.roots) != 1:
                listing.lines += list_roots(self.roots)
                return listing
            place = self.roots.locate(path) if path is not None else None
            try:
                start = starts(self.roots, place, position, ignored=self._all(ignored))[0]
            except Failure as failure:
                if place is None or failure.reason not in ("not_dir", "denied"):
                    raise
                line, row = file_line(self.roots, place)
                listing.lines.append(line)
                listing.rows.append(row)
                return listing
            if path is None:
                listing.lines += list_roots(self.roots)
            tree = Tree(self.roots, start.root, self._all(ignored), job, listing, start.after)
            return list_folder(tree, start, depth=max(1, min(depth, MAX_DEPTH)), limit=limit, room=room)

        return await self._run(Lane.SHORT, work)

    async def find(
        self,
        glob: str,
        *,
        path: str | None,
        kind: str | None,
        ignored: bool,
        limit: int,
        after: Any | None,
        budget: int,
        progress: Progress | None = None,
    ) -> Found:
        """Paths whose name or relative path matches."""
        position = None if after is None else Position.of_json(after)
        wanted = None if kind is None else Kind(kind)
        compiled = Glob(glob)

        def work(job: Job) -> Found:
            place = self.roots.locate(path) if path is not None else None
            begins = self._folders(place, position, ignored=self._all(ignored))
            room = budget - NOTES_ROOM
            return Finding(self.roots, compiled, wanted, self._all(ignored), limit, room, job, Found()).run(begins)

        return await self._run(Lane.LONG, work, progress)

    async def grep(
        self,
        pattern: str,
        *,
        path: str | None,
        glob: str | None,
        literal: bool,
        ignore_case: bool,
        context: int,
        mode: str,
        ignored: bool,
        limit: int,
        after: Any | None,
        budget: int,
        progress: Progress | None = None,
    ) -> Grepped:
        """Lines, files or counts of what matches a pattern."""
        position = None if after is None else Position.of_json(after)
        names = Glob(glob) if glob is not None else None

        def work(job: Job) -> Grepped:
            engine = engine_for(pattern, literal=literal, ignore_case=ignore_case, job=job)
            report = Report(self.roots, min(max(context, 0), MAX_CONTEXT), limit, budget - NOTES_ROOM, Grepped())
            search = Grepping(report, self._known, engine, names, Mode(mode), self._all(ignored), job)
            try:
                return self._search(search, path, position)
            finally:
                engine.close()

        return await self._run(Lane.LONG, work, progress)

    async def open_resource(self, path: str) -> OpenedResource:
        """A whole file for a resource: text as it decodes, line ends untouched, otherwise bytes."""

        def work(job: Job) -> OpenedResource:
            file, place = first_that_exists(self.roots.locate(path), RootFS.open_file)
            with file:
                return self._resource(file, place.root, job)

        return await self._run(Lane.SHORT, work)

    async def complete_path(self, prefix: str, limit: int = 100) -> "list[str]":
        """Paths that begin so, folders with a slash at the end; denied ones are left out."""
        return await self._run(Lane.SHORT, lambda job: self._completions(prefix, limit, job))

    def close(self) -> None:
        """Stop everything that runs. Never blocks; threads that do not come back are left behind."""
        self.workers.close()

    async def _run(self, lane: Lane, work: Callable[[Job], T], progress: Progress | None = None) -> T:
        try:
            return await self.workers.run(lane, work, deadline_s=self._deadline_s, progress=progress)
        except Stopped as stopped:
            raise Unavailable("The server is shutting down.", retryable=False) from stopped
        except OSError as error:
            raise Unavailable(
                "The storage behind this path does not answer as it should.", hint="Repeat the call."
            ) from error

    def _all(self, ignored: bool) -> bool:
        return ignored or not self._respect_gitignore

    def _folders(self, place: Place | None, position: Position | None, *, ignored: bool) -> "list[Start]":
        try:
            return starts(self.roots, place, position, ignored=ignored)
        except Failure as failure:
            if failure.reason != "not_dir":
                raise
            hint = "Name the folder to look in, or list the file itself."
            raise Invalid("This is a file, not a folder.", code="not_dir", field="path", hint=hint) from failure

    def _search(self, search: Grepping, path: str | None, position: Position | None) -> Grepped:
        place = self.roots.locate(path) if path is not None else None
        try:
            begins = starts(self.roots, place, position, ignored=search.ignored)
        except Failure as failure:
            if place is None or failure.reason != "not_dir":
                raise
            file, found = first_that_exists(place, RootFS.open_file)
            file.close()
            return search.run_file(found.root, found.rel, position)
        return search.run(begins)

    def _resource(self, file: OpenedFile, root: RootFS, job: Job) -> OpenedResource:
        if file.size > self._max_media_bytes:
            raise TooLarge(
                "This file is too large to be read as one resource.",
                hint="Read it page by page with the reading tool, which takes ranges of lines.",
                details={"bytes": file.size, "limit": self._max_media_bytes},
            )
        facts = self._known.of(file, job)
        body = whole(file, job)
        etag, uri = file.etag(), uri_of(root, file.rel)
        if facts is None:
            mime = type_of(body[:MAGIC_BYTES], file.rel)
            return OpenedResource(body, mime, file.size, file.mtime_ns, etag, uri)
        text = facts.charset.decode(body[facts.charset.bom :])
        return OpenedResource(text, text_type_of(file.rel), file.size, file.mtime_ns, etag, uri)

    def _completions(self, prefix: str, limit: int, job: Job) -> "list[str]":
        folder, slash, start = prefix.rpartition("/")
        if not slash and len(self.roots) > 1:
            return [f"{visible(root.name)}/" for root in self.roots if visible(root.name).startswith(start)][:limit]
        if not folder and not slash:
            place = self.roots.place(next(iter(self.roots)), "")
        else:
            place = self.roots.locate(folder or "/")
        try:
            opened, place = first_that_exists(place, RootFS.open_dir)
        except Failure:
            return []
        with opened:
            job.check()
            denied = opened.deny_test()
            names = sorted((name, kind) for name, kind in opened.names() if not denied(name) and name != GIT)
        shown = (f"{visible(name)}{'/' if kind is Kind.DIR else ''}" for name, kind in names)
        return [f"{folder}{slash}{name}" for name in shown if name.startswith(start)][:limit]
