"""`.gitignore`, as git reads it: nested files, negation, anchored and folder-only patterns, `.git/info/exclude`.

Rules are tested on all names of a folder at once: plain names and `*.ext` by set and suffix, the rest by one regex
per run of rules with the same sign. Not read: the index (a tracked file that matches counts as ignored) and the
user's global excludes, which lie outside every opened folder.
"""

from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.paths import OpenedDir, RootFS

from .globs import is_plain, name_regex, path_regex, suffix_of, translated

GITIGNORE = ".gitignore"
GIT = ".git"
MARKS = frozenset((GIT, GITIGNORE))
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: str
    negated: bool
    dirs_only: bool
    by_name: bool


def rules_of(text: str) -> list[Rule]:
    """The rules of one file, in its order."""
    rules: list[Rule] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        pattern = _trimmed(line.removesuffix("\r"))
        if not pattern or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        pattern = pattern[negated:]
        dirs_only = pattern.endswith("/")
        pattern = pattern[:-1] if dirs_only else pattern
        by_name = "/" not in pattern
        pattern = pattern.removeprefix("/")
        if pattern:
            rules.append(Rule(pattern, negated, dirs_only, by_name))
    return rules


class Names:
    """Patterns on a name alone."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.exact = frozenset(pattern for pattern in patterns if is_plain(pattern))
        rest = [pattern for pattern in patterns if not is_plain(pattern)]
        self.suffixes = tuple(suffix for pattern in rest if (suffix := suffix_of(pattern)))
        self.regex = translated([pattern for pattern in rest if not suffix_of(pattern)], name_regex)

    def hits(self, names: Iterable[str]) -> set[str]:
        exact, suffixes = self.exact, self.suffixes
        found = {name for name in names if name in exact or name.endswith(suffixes)}
        if self.regex is not None:
            fits = self.regex.fullmatch
            found.update(name for name in names if fits(name))
        return found


class Paths:
    """Patterns on the path from the folder of their file."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.exact: dict[str, set[str]] = {}
        for pattern in filter(is_plain, patterns):
            folder, _, name = pattern.rpartition("/")
            self.exact.setdefault(folder, set()).add(name)
        self.regex = translated([pattern for pattern in patterns if not is_plain(pattern)], path_regex)

    def hits(self, names: Collection[str], folder: str) -> set[str]:
        found = self.exact.get(folder, set()).intersection(names)
        if self.regex is not None:
            fits, prefix = self.regex.fullmatch, f"{folder}/" if folder else ""
            found.update(name for name in names if fits(prefix + name))
        return found


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring rules of one sign: any of them decides alike."""

    negated: bool
    names: Names
    paths: Paths
    dir_names: Names
    dir_paths: Paths

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> "Run":
        def pick(*, dirs: bool, by_name: bool) -> list[str]:
            return [rule.pattern for rule in rules if rule.by_name is by_name and (dirs or not rule.dirs_only)]

        return cls(
            rules[0].negated,
            Names(pick(dirs=False, by_name=True)),
            Paths(pick(dirs=False, by_name=False)),
            Names(pick(dirs=True, by_name=True)),
            Paths(pick(dirs=True, by_name=False)),
        )

    def hits(self, names: Collection[str], folder: str, *, dirs: bool) -> set[str]:
        on_names, on_paths = (self.dir_names, self.dir_paths) if dirs else (self.names, self.paths)
        return on_names.hits(names) | on_paths.hits(names, folder)


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """One file's rules and the folder they count from."""

    base: str
    runs: tuple[Run, ...]

    @classmethod
    def parse(cls, base: str, text: str) -> "IgnoreFile":
        return cls(base, tuple(Run.of(list(run)) for _, run in groupby(rules_of(text), key=lambda rule: rule.negated)))

    def folder(self, rel: str) -> str:
        return rel[len(self.base) :].removeprefix("/") if self.base else rel


@dataclass(frozen=True, slots=True)
class Ignoring:
    """All ignore files that count in a folder, the outermost first."""

    files: tuple[IgnoreFile, ...] = field(default=())

    def ignored(self, rel: str, names: Collection[str], *, dirs: bool) -> set[str]:
        """Which names in folder `rel` are ignored: the innermost file that has a say decides, by its last rule."""
        ignored: set[str] = set()
        open_names = names
        for file in reversed(self.files):
            folder = file.folder(rel)
            for run in reversed(file.runs):
                if hits := run.hits(open_names, folder, dirs=dirs):
                    if not run.negated:
                        ignored |= hits
                    open_names = [name for name in open_names if name not in hits]
        return ignored

    def entering(self, folder: OpenedDir, names: AbstractSet[str]) -> "Ignoring":
        """With what this folder brings; `names` tells which of MARKS it has. A repository of its own starts anew."""
        files = () if GIT in names else self.files
        if GIT in names and (text := _text(partial(_nested, folder))) is not None:
            files = (IgnoreFile.parse(folder.rel, text),)
        if GITIGNORE in names and (text := _text(partial(_own, folder))) is not None:
            files = (*files, IgnoreFile.parse(folder.rel, text))
        return self if files is self.files else Ignoring(files)


def ignoring_above(root: RootFS, rel: str) -> Ignoring:
    """What holds in a folder because of the folders above it, up to the root."""
    ignoring = Ignoring()
    parts = rel.split("/") if rel else []
    for count in range(len(parts)):
        with root.open_dir("/".join(parts[:count])) as folder:
            ignoring = ignoring.entering(folder, MARKS.intersection(name for name, _ in folder.names()))
    return ignoring


def _own(folder: OpenedDir) -> bytes:
    with folder.child_file(GITIGNORE) as file:
        return file.pread(MAX_BYTES, 0)


def _nested(folder: OpenedDir) -> bytes:
    with folder.child_dir(GIT) as git, git.child_dir("info") as info, info.child_file("exclude") as file:
        return file.pread(MAX_BYTES, 0)


def _text(read: "partial[bytes]") -> str | None:
    """Absent, denied, a link or not a file: git does not read such an ignore file either."""
    try:
        return read().decode("utf-8", "surrogateescape")
    except (Failure, OSError):
        return None


def _trimmed(line: str) -> str:
    """Without the blanks at the end, unless a backslash keeps them."""
    kept = line.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return line[: len(kept) + 1] if backslashes % 2 and len(kept) < len(line) else kept
