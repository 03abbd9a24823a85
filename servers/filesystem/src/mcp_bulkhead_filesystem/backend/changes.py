"""Every change the tools can ask for, as plain blocking work for a thread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mcp_bulkhead.errors import Busy, Conflict, Failure, Invalid, Stale, TooLarge
from mcp_bulkhead.guards.contents import PLACED, SETTLED, Step, Target, Written
from mcp_bulkhead.guards.copying import copy
from mcp_bulkhead.guards.deleting import Deleted, delete, look_before_deleting
from mcp_bulkhead.guards.moving import move
from mcp_bulkhead.guards.path_failures import nothing_here
from mcp_bulkhead.guards.paths import Place, Roots
from mcp_bulkhead.guards.trees import Survey
from mcp_bulkhead.guards.write_failures import changed_meanwhile, exists, no_folder
from mcp_bulkhead.guards.writing import Writer

from .contents_sent import sent_bytes
from .diffs import trimmed, unified
from .editing import Edit, apply, charset_of
from .locks import MoveGate
from .names import is_absent, named, visible
from .quotas import Quota
from .splicing import seen_by_a_model
from .workers import Job

MODES = ("create", "replace", "append")
TRIES = 5
DIFFED_BYTES = 1_000_000
MAX_FILE_BYTES = 20_000_000
"""The largest file that is edited: all of it is held in memory, several times."""


@dataclass(slots=True)
class Change:
    """What was done to one file, or with `applied` false, what would be."""

    path: str
    etag: str | None
    replaced: int = 0
    bytes: int = 0
    created: bool = False
    diff: str = ""
    lost: Sequence[str] = ()
    applied: bool = True


@dataclass(frozen=True, slots=True)
class Relocation:
    """What was moved or copied where."""

    path: str
    to: str
    copied: bool = False
    files: int = 0
    bytes: int = 0
    applied: bool = True


@dataclass(frozen=True, slots=True)
class Removal:
    """What was deleted, and where it is now if it is in the trash."""

    path: str
    files: int
    dirs: int
    bytes: int
    digest: str
    trash: str | None = None
    applied: bool = True


class Changes:
    """Edits, writes, moves and deletions below the opened roots. Safe to use from several threads."""

    def __init__(
        self,
        roots: Roots,
        *,
        fsync: bool = True,
        keep_hard_links: bool = False,
        quota: Quota | None = None,
        patience_s: float = 5.0,
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        self.roots = roots
        self._quota = quota or Quota()
        self._gate = MoveGate()
        self._patience_s = patience_s
        self._max_file_bytes = max_file_bytes
        self._writers = {
            id(root): Writer(root, fsync=fsync, keep_hard_links=keep_hard_links, patience_s=patience_s)
            for root in roots
        }

    def edit(self, path: str, edits: Sequence[Edit], *, etag: str | None, dry_run: bool, job: Job) -> Change:
        """Replace pieces of text: all or none. Without an etag, repeated on what another writer left."""
        place = self.place(path)

        def attempt(target: Target) -> Change:
            self._expect(target, etag)
            if target.file is None:
                raise nothing_here()
            self._check_size(target.file.size)
            edited = apply(target.read(), edits, job.check)
            told = Change("", target.etag, edited.replaced, len(edited.content), diff=edited.diff, applied=False)
            return told if dry_run else self._put(target, edited.content, told)

        return self._changed(place, attempt, etag, job)

    def write(
        self,
        path: str,
        content: str,
        *,
        mode: str,
        is_base64: bool,
        etag: str | None,
        create_parents: bool,
        dry_run: bool,
        job: Job,
    ) -> Change:
        """Write a whole file (`create` a new one, `replace` whatever is there) or `append` to it."""
        if mode not in MODES:
            raise Invalid("There is no such mode.", field="mode", problem=f"use one of {', '.join(MODES)}")
        place = self.place(path)
        above = place.rel.rpartition("/")[0]
        if create_parents and above and self._above_is_missing(place, above, make=not dry_run):
            raw = sent_bytes(content, is_base64=is_base64, like=None, whole=True, limit=self._max_file_bytes)
            return Change(self._shown(place), None, bytes=len(raw), created=True, applied=False)

        def attempt(target: Target) -> Change:
            self._expect(target, etag)
            if mode == "create" and target.file is not None:
                raise exists()
            append = mode == "append"
            raw = sent_bytes(
                content, is_base64=is_base64, like=target.file, whole=not append, limit=self._max_file_bytes
            )
            told = Change("", target.etag, bytes=len(raw), created=target.file is None, applied=False)
            if not (append or is_base64):
                told.diff = _diff(target, raw)
            return told if dry_run else self._put(target, raw, told, append=append)

        return self._changed(place, attempt, etag, job, new=mode != "create")

    def mkdir(self, path: str, *, parents: bool, dry_run: bool) -> Change:
        """Create a folder, with `parents` also those above it. `replaced` stays 0; `created` says if it was there."""
        place = self.place(path)
        writer = self._writer(place)
        with self._gate.change(self._patience_s):
            if dry_run:
                return self._would_make(place, parents=parents)
            if parents:
                return Change(self._shown(place), None, created=writer.make_all(place.rel) > 0)
            writer.mkdir(place.rel)
            return Change(self._shown(place), None, created=True)

    def move(self, path: str, to: str, *, replace_it: bool, dry_run: bool, job: Job) -> Relocation:
        """Give a file, link or folder another name or place, without overwriting unless told to."""
        old, new = self.place(path), self.place(to)
        with self._gate.move(self._patience_s):
            if dry_run:
                return self._would_move(old, new, replace_it=replace_it, copied=False)
            moved = move(self._writer(old), old.rel, self._writer(new), new.rel, replace=replace_it, step=_step(job))
        return Relocation(self._shown(old, moved.rel), self._shown(new, moved.to))

    def copy(self, path: str, to: str, *, replace_it: bool, dry_run: bool, job: Job) -> Relocation:
        """Copy a file or a whole folder, within the quota."""
        old, new = self.place(path), self.place(to)
        with self._gate.change(self._patience_s):
            if dry_run:
                return self._would_move(old, new, replace_it=replace_it, copied=True)
            copied = copy(
                old.root,
                old.rel,
                self._writer(new),
                new.rel,
                replace=replace_it,
                step=_step(job),
                allow=lambda what: self._quota.check(what.files, what.bytes),
            )
        self._quota.charge(copied.what.files, copied.what.bytes)
        to_shown = self._shown(new, copied.rel)
        return Relocation(self._shown(old), to_shown, copied=True, files=copied.what.files, bytes=copied.what.bytes)

    def look(self, path: str, job: Job) -> Removal:
        """What deleting this would take: for a dry run, and for the question to a person."""
        place = self.place(path)
        what = look_before_deleting(self._writer(place), place.rel, step=_step(job))
        return self._removal(place, Deleted(place.rel, what), applied=False)

    def delete(self, path: str, *, recursive: bool, trash: bool, digest: str | None, job: Job) -> Removal:
        """Delete; `digest` from `look` holds it to what was looked at."""
        place = self.place(path)
        with self._gate.change(self._patience_s):
            writer = self._writer(place)
            gone = delete(writer, place.rel, recursive=recursive, trash=trash, digest=digest, step=_step(job))
        return self._removal(place, gone, applied=True)

    def place(self, path: str) -> Place:
        r"""What a path means: what is there, else a new name in the folder that is there.

        The escapes of shown names are undone for what exists, never for the name of something new: nobody means to
        create a name that cannot be seen.
        """
        literal = self.roots.locate(path)
        spoken = replace(literal, rel=named(literal.rel))
        if spoken.rel == literal.rel:
            return literal
        for meaning in (spoken, literal):
            if _is_there(meaning):
                return meaning
        folder, slash, name = literal.rel.rstrip("/").rpartition("/")
        parent = replace(literal, rel=named(folder))
        return replace(literal, rel=f"{parent.rel}{slash}{name}") if _is_there(parent) else literal

    def _changed(
        self, place: Place, attempt: Callable[[Target], Change], etag: str | None, job: Job, *, new: bool = False
    ) -> Change:
        """Try, and when somebody else was faster try again, from then on with the folder held against others."""
        writer = self._writer(place)
        for turn in range(TRIES):
            job.check()
            try:
                with (
                    self._gate.change(self._patience_s),
                    writer.open(place.rel, hold=turn > 0, step=_step(job)) as target,
                ):
                    change = attempt(target)
                    change.path = self._shown(place, target.spot.rel)
                    return change
            except (Stale, Conflict) as failure:
                if etag is not None or not (isinstance(failure, Stale) or new):
                    raise
        raise Busy(
            "Another program keeps changing this file; nothing was written.", hint="Repeat the call.", retry_after_s=1.0
        )

    def _put(self, target: Target, raw: bytes, told: Change, *, append: bool = False) -> Change:
        with self._quota.spending(1, len(raw)):
            written: Written = target.append(raw) if append else target.put(raw)
        told.etag, told.created, told.lost, told.applied = written.etag, written.created, written.lost, True
        return told

    def _expect(self, target: Target, etag: str | None) -> None:
        if etag is not None and target.etag != etag:
            raise changed_meanwhile()

    def _check_size(self, size: int) -> None:
        if size > self._max_file_bytes:
            raise TooLarge(
                "This file is too large to be edited.",
                hint="Append to it, or change it with a program made for large files.",
                details={"bytes": size, "limit": self._max_file_bytes},
            )

    def _above_is_missing(self, place: Place, above: str, *, make: bool) -> bool:
        """Whether a dry run must do without the folder the file would be in."""
        if _is_there(replace(place, rel=above)):
            return False
        # Of the file's own name too, or its folders would be made for a file that is then refused.
        self._writer(place).would_make(place.rel)
        if make:
            with self._gate.change(self._patience_s):
                self._writer(place).make_all(above)
        return not make

    def _would_make(self, place: Place, *, parents: bool) -> Change:
        missing = self._writer(place).would_make(place.rel)
        if not parents and missing != 1:
            raise no_folder() if missing else exists()
        return Change(self._shown(place), None, created=missing > 0, applied=False)

    def _would_move(self, old: Place, new: Place, *, replace_it: bool, copied: bool) -> Relocation:
        old.root.stat(old.rel)
        if not copied:
            old.root.parent_of(old.rel).close()
        with self._writer(new).spot(new.rel) as spot:
            if spot.look() is not None and not replace_it:
                raise exists()
        return Relocation(self._shown(old), self._shown(new), copied=copied, applied=False)

    def _writer(self, place: Place) -> Writer:
        return self._writers[id(place.root)]

    def _shown(self, place: Place, rel: str | None = None) -> str:
        return visible(self.roots.place(place.root, place.rel if rel is None else rel).shown)

    def _removal(self, place: Place, gone: Deleted, *, applied: bool) -> Removal:
        what: Survey = gone.what
        trash = None if gone.trash is None else self._shown(place, gone.trash)
        return Removal(
            self._shown(place, gone.rel), what.files, what.dirs, what.bytes, what.digest, trash, applied=applied
        )


def _step(job: Job) -> Step:
    """A cancelled call leaves before its change is placed; afterwards it is told of what was done."""

    def step(name: str) -> None:
        if name not in (PLACED, SETTLED):
            job.check()

    return step


def _is_there(place: Place) -> bool:
    try:
        place.root.stat(place.rel)
    except Failure as failure:
        return not is_absent(failure)
    return True


def _diff(target: Target, raw: bytes) -> str:
    """What a whole new content changes; nothing for what is large, or no text."""
    size = 0 if target.file is None else target.file.size
    if max(size, len(raw)) > DIFFED_BYTES:
        return ""
    before, after = target.read(), raw
    try:
        old, new = (_seen(each) for each in (before, after))
    except Failure:
        return ""
    return unified(old, new, trimmed(old, new))


def _seen(raw: bytes) -> str:
    if not raw:
        return ""
    charset = charset_of(raw)
    end = len(raw) - (len(raw) - charset.bom) % charset.unit
    return seen_by_a_model(charset.decode(raw[charset.bom : end]))
