"""Globs as regular expressions that cannot blow up.

Every star but the last of a name is an atomic group that commits to the leftmost place where what follows it fits,
which is enough for globs (the parts between stars have a fixed length), so no input makes the engine try
combinations. The same holds for `**` between folders. The dialect is git's wildmatch with FNM_PATHNAME, plus braces
for the tool's own globs.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from mcp_bulkhead.errors import Invalid

MAX_GLOB = 1_000
MAX_BRANCHES = 64
SLICE = 50
"""Patterns in one regex; a larger one takes long to compile and is no quicker."""
POSIX: Mapping[str, str] = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": " \\t\\n\\r\\f\\v",
    "blank": " \\t",
    "punct": "!-/:-@\\[-`{-~",
    "print": " -~",
    "graph": "!-~",
    "cntrl": "\\x00-\\x1f\\x7f",
    "xdigit": "0-9A-Fa-f",
}
END_OF_NAME = "(?![^/])"
SPECIAL = frozenset("*?[\\")


class Malformed(ValueError):  # noqa: N818 - an outcome, caught here
    """A pattern that git lets match nothing: an open bracket, a lone backslash at the end."""


class Glob:
    """The tool's glob: on the whole relative path when it has a slash, otherwise on the name. Case-sensitive."""

    def __init__(self, pattern: str) -> None:
        if not pattern or len(pattern) > MAX_GLOB:
            raise _unusable(f"must have 1 to {MAX_GLOB} characters")
        self.dirs_only = pattern.endswith("/")
        branches = [_normal(branch) for branch in branches_of(pattern)]
        if any(not branch or ".." in branch.split("/") for branch in branches):
            raise _unusable("must not be empty, '/' or contain '..': say where to start with `path`")
        bare = [branch.removeprefix("**/") for branch in branches]
        self.by_name = all("/" not in branch for branch in bare)
        self._branches = bare if self.by_name else [_on_path(branch) for branch in branches]

    def matches(self, name: str, path: str) -> bool:
        return self._regex.fullmatch(name if self.by_name else path) is not None

    def among(self, names: Iterable[str], folder: str) -> list[str]:
        """Those of the names in a folder (relative to where the search began) that match; quick for whole folders."""
        if self._suffixes is not None:
            return [name for name in names if name.endswith(self._suffixes)]
        fits = self._regex.fullmatch
        if self.by_name or not folder:
            return [name for name in names if fits(name)]
        return [name for name in names if fits(f"{folder}/{name}")]

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return any_of(path_regex(branch, lenient=True) for branch in self._branches)

    @cached_property
    def _suffixes(self) -> tuple[str, ...] | None:
        plain = self.by_name and all(branch[0] == "*" and is_plain(branch[1:]) for branch in self._branches)
        return tuple(branch[1:] for branch in self._branches) if plain else None


def any_of(regexes: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{regex})" for regex in regexes), re.DOTALL)


def is_plain(pattern: str) -> bool:
    return SPECIAL.isdisjoint(pattern)


def path_regex(pattern: str, *, lenient: bool = False) -> str:
    """A regex for `fullmatch` on a relative path."""
    groups: list[list[str]] = [[]]
    for part in pattern.split("/"):
        if len(part) > 1 and not part.strip("*"):
            groups.append([])
        else:
            groups[-1].append(name_regex(part, lenient=lenient))
    first, *rest = groups
    if not rest:
        return "/".join(first)
    regex = "".join(f"{part}/" for part in first)
    for group in rest[:-1]:
        if group:
            regex += f"(?>(?:[^/]+/)*?{''.join(f'{part}/' for part in group)})"
    return regex + (f"(?:[^/]+/)*?{'/'.join(rest[-1])}" if rest[-1] else ".+")


def name_regex(pattern: str, *, lenient: bool = False) -> str:
    """A regex that takes one whole part of a path."""
    first, *rest = _between_stars(pattern, lenient=lenient)
    regex = "".join(first)
    for chunk in rest[:-1]:
        if chunk:
            regex += f"(?>[^/]*?{''.join(chunk)})"
    if rest:
        regex += f"[^/]*{''.join(rest[-1])}"
    return f"(?>{regex}{END_OF_NAME})"


def branches_of(pattern: str) -> list[str]:
    """`a.{py,md}` as `a.py` and `a.md`; braces nest. A brace without a comma, or unclosed, stands for itself."""
    out: list[str] = []
    todo = [pattern]
    while todo:
        each = todo.pop(0)
        span = _first_braces(each)
        if span is None:
            out.append(each)
        else:
            start, commas, end = span
            edges = [start, *commas, end]
            todo[:0] = [each[:start] + each[a + 1 : b] + each[end + 1 :] for a, b in itertools.pairwise(edges)]
        if len(out) + len(todo) > MAX_BRANCHES:
            raise _unusable(f"its braces stand for more than {MAX_BRANCHES} patterns")
    return out


def _first_braces(pattern: str) -> tuple[int, list[int], int] | None:
    """Where the first usable brace group opens, has its commas, and closes."""
    for start in (at for at, char in enumerate(pattern) if char == "{" and pattern[max(at - 1, 0)] != "\\"):
        depth, commas = 0, list[int]()
        for at in range(start, len(pattern)):
            char = pattern[at]
            depth += (char == "{") - (char == "}")
            if char == "," and depth == 1:
                commas.append(at)
            if depth == 0:
                if commas:
                    return start, commas, at
                break
    return None


def _between_stars(pattern: str, *, lenient: bool) -> list[list[str]]:
    """The pattern's fixed-length chunks; every border is a star."""
    chunks: list[list[str]] = [[]]
    for piece in _tokens(pattern, lenient=lenient):
        if piece == "*":
            chunks.append([])
        else:
            chunks[-1].append(piece)
    return chunks


def _tokens(pattern: str, *, lenient: bool) -> Iterator[str]:
    """Regexes for one character each, and `*` for any number."""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            yield char
        elif char == "?":
            yield "[^/]"
        elif char == "[":
            closed = _class(pattern, at)
            if closed is None and not lenient:
                raise Malformed
            regex, at = closed or (re.escape(char), at)
            yield regex
        elif char == "\\":
            if at == len(pattern) and not lenient:
                raise Malformed
            yield re.escape(pattern[at : at + 1] or char)
            at += 1
        else:
            yield re.escape(char)


def _class(pattern: str, at: int) -> tuple[str, int] | None:
    """The regex of a bracket expression whose `[` stands before `at`, and where it ends; None when it is not closed."""
    negated = pattern[at : at + 1] in ("!", "^") and at < len(pattern)
    at += negated
    items: list[str] = []
    first = True
    while True:
        char = pattern[at : at + 1]
        if not char:
            return None
        if char == "]" and not first:
            break
        first = False
        if pattern.startswith("[:", at) and (end := pattern.find(":]", at + 2)) > 0:
            known = POSIX.get(pattern[at + 2 : end])
            if known is None:
                return None
            items.append(known)
            at = end + 2
            continue
        low, at = _member(pattern, at)
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _member(pattern, at + 1)
            items += [f"{re.escape(low)}-{re.escape(high)}"] if low <= high else []
        else:
            items.append(re.escape(low))
    if not items:
        return ("[^/]" if negated else "(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{''.join(items)}]", at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "\\" and at + 1 < len(pattern):
        return pattern[at + 1], at + 2
    return pattern[at], at + 1


def _normal(branch: str) -> str:
    """Without `./` in front and `/` behind; one leading slash stays and ties it to the start."""
    branch = branch.rstrip("/")
    while branch.startswith("./"):
        branch = branch[2:]
    return f"/{branch.lstrip('/')}" if branch.startswith("/") else branch


def _on_path(branch: str) -> str:
    """A branch without a slash is about names at any depth, also beside branches that have one."""
    return branch.removeprefix("/") if "/" in branch else f"**/{branch}"


def _unusable(problem: str) -> Invalid:
    return Invalid(
        "This glob cannot be used.",
        field="glob",
        problem=problem,
        hint="Write it like '**/*.py', 'src/**' or '*.{md,txt}'.",
    )


def suffix_of(pattern: str) -> str | None:
    """`*.log` can be tested by the end of a name alone."""
    return pattern[1:] if pattern[:1] == "*" and pattern[1:] and is_plain(pattern[1:]) else None


def translated(
    patterns: Sequence[str], translate: Callable[[str], str], check: Callable[[], None]
) -> list[re.Pattern[str]]:
    """Regexes for all of them, some patterns in each so that compiling can be left; none for what matches nothing."""
    compiled: list[re.Pattern[str]] = []
    for first in range(0, len(patterns), SLICE):
        check()
        regexes: list[str] = []
        for pattern in patterns[first : first + SLICE]:
            try:
                regexes.append(translate(pattern))
            except Malformed:
                continue
        if regexes:
            compiled.append(any_of(regexes))
    return compiled
