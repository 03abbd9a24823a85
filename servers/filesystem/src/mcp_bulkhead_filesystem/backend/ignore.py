"""`.gitignore`, as git reads it: nested files, negation, anchored and folder-only patterns, `.git/info/exclude`.

Rules are tested on all names of a folder at once: plain names and `*.ext` by set and suffix, the rest by few
regexes per run of rules with the same sign. What a file may hold is bounded, since whoever writes in a folder can
leave one there; the answer says when rules were left out. Not read: the index (a tracked file that matches counts as
ignored) and the user's global excludes, which lie outside every opened folder.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from re import Pattern

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.paths import OpenedDir, RootFS

from .globs import is_plain, name_regex, path_regex, suffix_of, translated

GITIGNORE = ".gitignore"
GIT = ".git"
MARKS = frozenset((GIT, GITIGNORE))
MAX_BYTES = 64 * 1024
MAX_RULES = 2_000
MAX_PATTERN = 1_000
MAX_COSTLY = 500
"""Over all files that count in a folder: rules that need a regex, and changes of sign between neighbours."""
CHECK_EVERY = 256
LEFT_OUT = f"ignore files are over {MAX_BYTES // 1024} KB, {MAX_RULES} rules or {MAX_COSTLY} wildcards: not all applied"

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: str
    negated: bool
    dirs_only: bool
    by_name: bool


def rules_of(text: str) -> Iterator[Rule]:
    """The rules of one file, in its order."""
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
            yield Rule(pattern, negated, dirs_only, by_name)


def affordable(rules: Iterator[Rule], costly: int) -> tuple[list[Rule], int, bool]:
    """As many rules as may count, how many of them are costly, and whether that is all."""
    kept: list[Rule] = []
    spent = 0
    for rule in rules:
        cost = not (is_plain(rule.pattern) or (rule.by_name and suffix_of(rule.pattern)))
        cost += bool(kept) and kept[-1].negated is not rule.negated
        if len(kept) == MAX_RULES or spent + cost > costly or len(rule.pattern) > MAX_PATTERN:
            return kept, spent, False
        spent += cost
        kept.append(rule)
    return kept, spent, True


class Regexes:
    """Patterns that need a regex; compiled when first asked."""

    def __init__(self, patterns: Sequence[str], translate: Callable[[str], str]) -> None:
        self._patterns = patterns
        self._translate = translate
        self._compiled: list[Pattern[str]] | None = None

    def hits(self, names: Collection[str], prefix: str, check: Check) -> set[str]:
        if not self._patterns:
            return set()
        if self._compiled is None:
            self._compiled = translated(self._patterns, self._translate, check)
        fits = [regex.fullmatch for regex in self._compiled]
        found: set[str] = set()
        left = iter(names)
        while step := list(islice(left, CHECK_EVERY)):
            for fit in fits:
                check()
                found.update(name for name in step if fit(prefix + name))
        return found


class Names:
    """Patterns on a name alone."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.exact = frozenset(pattern for pattern in patterns if is_plain(pattern))
        rest = [pattern for pattern in patterns if not is_plain(pattern)]
        self.suffixes = tuple(suffix for pattern in rest if (suffix := suffix_of(pattern)))
        self.regexes = Regexes([pattern for pattern in rest if not suffix_of(pattern)], name_regex)

    def hits(self, names: Collection[str], check: Check) -> set[str]:
        check()
        exact, suffixes = self.exact, self.suffixes
        found = {name for name in names if name in exact or name.endswith(suffixes)}
        return found | self.regexes.hits(names, "", check)


class Paths:
    """Patterns on the path from the folder of their file."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.exact: dict[str, set[str]] = {}
        for pattern in filter(is_plain, patterns):
            folder, _, name = pattern.rpartition("/")
            self.exact.setdefault(folder, set()).add(name)
        self.regexes = Regexes([pattern for pattern in patterns if not is_plain(pattern)], path_regex)

    def hits(self, names: Collection[str], folder: str, check: Check) -> set[str]:
        found = self.exact.get(folder, set()).intersection(names)
        return found | self.regexes.hits(names, f"{folder}/" if folder else "", check)


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

        names, paths = Names(pick(dirs=False, by_name=True)), Paths(pick(dirs=False, by_name=False))
        if not any(rule.dirs_only for rule in rules):
            return cls(rules[0].negated, names, paths, names, paths)
        dir_names, dir_paths = Names(pick(dirs=True, by_name=True)), Paths(pick(dirs=True, by_name=False))
        return cls(rules[0].negated, names, paths, dir_names, dir_paths)

    def hits(self, names: Collection[str], folder: str, check: Check, *, dirs: bool) -> set[str]:
        on_names, on_paths = (self.dir_names, self.dir_paths) if dirs else (self.names, self.paths)
        return on_names.hits(names, check) | on_paths.hits(names, folder, check)


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """One file's rules and the folder they count from."""

    base: str
    runs: tuple[Run, ...]
    costly: int = 0
    whole: bool = True
    """False when some of its rules were left out."""

    @classmethod
    def parse(cls, base: str, data: bytes, costly: int = MAX_COSTLY) -> "IgnoreFile":
        fits = len(data) <= MAX_BYTES
        # A rule cut in two would be another rule.
        data = data if fits else data[: data.rfind(b"\n", 0, MAX_BYTES) + 1]
        rules, spent, whole = affordable(rules_of(data.decode("utf-8", "surrogateescape")), costly)
        runs = tuple(Run.of(list(run)) for _, run in groupby(rules, key=lambda rule: rule.negated))
        return cls(base, runs, spent, fits and whole)

    def folder(self, rel: str) -> str:
        return rel[len(self.base) :].removeprefix("/") if self.base else rel


@dataclass(frozen=True, slots=True)
class Ignoring:
    """All ignore files that count in a folder, the outermost first."""

    files: tuple[IgnoreFile, ...] = field(default=())

    @property
    def whole(self) -> bool:
        return all(file.whole for file in self.files)

    def ignored(self, rel: str, names: Collection[str], check: Check, *, dirs: bool) -> set[str]:
        """Which names in folder `rel` are ignored: the innermost file that has a say decides, by its last rule."""
        ignored: set[str] = set()
        open_names = names
        for file in reversed(self.files):
            folder = file.folder(rel)
            for run in reversed(file.runs):
                if not open_names:
                    return ignored
                if hits := run.hits(open_names, folder, check, dirs=dirs):
                    if not run.negated:
                        ignored |= hits
                    open_names = [name for name in open_names if name not in hits]
        return ignored

    def entering(self, folder: OpenedDir, names: AbstractSet[str]) -> "Ignoring":
        """With what this folder brings; `names` tells which of MARKS it has. A repository of its own starts anew."""
        ignoring = Ignoring() if GIT in names else self
        if GIT in names:
            ignoring = ignoring.adding(folder.rel, partial(_nested, folder))
        if GITIGNORE in names:
            ignoring = ignoring.adding(folder.rel, partial(_own, folder))
        return ignoring

    def adding(self, base: str, read: "partial[bytes]") -> "Ignoring":
        data = _data(read)
        if data is None:
            return self
        left = MAX_COSTLY - sum(file.costly for file in self.files)
        return Ignoring((*self.files, IgnoreFile.parse(base, data, left)))


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
        return file.pread(MAX_BYTES + 1, 0)


def _nested(folder: OpenedDir) -> bytes:
    with folder.child_dir(GIT) as git, git.child_dir("info") as info, info.child_file("exclude") as file:
        return file.pread(MAX_BYTES + 1, 0)


def _data(read: "partial[bytes]") -> bytes | None:
    """Absent, denied, a link or not a file: git does not read such an ignore file either."""
    try:
        return read()
    except (Failure, OSError):
        return None


def _trimmed(line: str) -> str:
    """Without the blanks at the end, unless a backslash keeps them."""
    kept = line.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return line[: len(kept) + 1] if backslashes % 2 and len(kept) < len(line) else kept
