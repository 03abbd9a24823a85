"""Names that must not be read although they lie inside an opened folder.

A pattern without a slash matches the name of any part of the path (`*.pem`, `.env*`), so a matching folder hides all
below it. A pattern with slashes matches at any depth (`.kube/config`); `.ssh/**` is everything below a folder called
`.ssh`; a leading slash ties it to the root. Rules see the *resolved* path: a link `notes.txt` to `.env` is denied.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

from mcp_bulkhead.errors import Invalid

from .path_failures import invalid_root

# Some file systems (vfat, CIFS, NTFS) open `a.key` when asked for `a.key.` or `a.key `.
IGNORED_TAIL = " ."


class DenyRules:
    """Glob patterns on a resolved relative path, ignoring case."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._globs = tuple(_parts(pattern) for pattern in self.patterns)
        # Calls come in runs over one folder: its test is worth keeping.
        self._tests = lru_cache(maxsize=256)(self._test_for)

    def matches(self, rel: str) -> str | None:
        """The first pattern that denies this path, or None."""
        folder, _, name = rel.rpartition("/")
        found = self._denied.search(_fold(rel)) if rel and self._tests(folder)(name) else None
        return self.patterns[(found.lastindex or 1) - 1] if found else None

    def in_dir(self, rel: str) -> Callable[[str], bool]:
        """A test for the names of one folder, cheap enough to run on every entry of a large tree."""
        return self._tests(rel)

    def _test_for(self, rel: str) -> Callable[[str], bool]:
        prefix = f"{_fold(rel)}/" if rel else ""
        if not self.patterns:
            return lambda _name: False
        if self._denied.search(prefix) or (self._below and self._below.search(prefix)):
            return lambda _name: True
        search, last = self._denied.search, self._last_names

        def denied(name: str) -> bool:
            folded = name.lower() if name.isascii() else _fold(name)
            return last.may_match(folded) and search(prefix + folded) is not None

        return denied

    @cached_property
    def _denied(self) -> re.Pattern[str]:
        alternatives = "|".join(f"({_path_regex(parts)})" for parts in self._globs)
        return re.compile(rf"(?:{alternatives})[{IGNORED_TAIL}]*(?=/|\Z)", re.DOTALL)

    @cached_property
    def _below(self) -> re.Pattern[str] | None:
        """Matches a folder of which every child is denied, whatever its name."""
        heads = [_path_regex(parts[:-1]) for parts in self._globs if parts[-1] == "**"]
        return re.compile(rf"(?:{'|'.join(heads)})[{IGNORED_TAIL}]*/", re.DOTALL) if heads else None

    @cached_property
    def _last_names(self) -> "_LastNames":
        return _LastNames([parts[-1] for parts in self._globs if parts[-1] != "**"])


class _LastNames:
    """What the last part of a denied path can look like, sorted by how fast it can be tested."""

    def __init__(self, globs: Sequence[str]) -> None:
        starts = [glob for glob in globs if glob[-1] == "*" and not _is_glob(glob[:-1])]
        ends = [glob for glob in globs if glob[0] == "*" and not _is_glob(glob[1:])]
        exact = [glob for glob in globs if not _is_glob(glob)]
        loose = [_name_regex(glob) for glob in globs if glob not in (*starts, *ends, *exact)]
        self.exact = frozenset(glob.rstrip(IGNORED_TAIL) for glob in exact)
        self.prefixes = tuple(glob[:-1] for glob in starts)
        self.suffixes = tuple(glob[1:].rstrip(IGNORED_TAIL) for glob in ends)
        self.loose = re.compile(rf"(?:{'|'.join(loose)})[{IGNORED_TAIL}]*", re.DOTALL) if loose else None

    def may_match(self, folded: str) -> bool:
        stem = folded.rstrip(IGNORED_TAIL)
        return (
            stem in self.exact
            or folded.startswith(self.prefixes)
            or stem.endswith(self.suffixes)
            or (self.loose is not None and self.loose.fullmatch(folded) is not None)
        )


def _parts(pattern: str) -> tuple[str, ...]:
    """A folded pattern as path parts; the first is "" when the pattern is tied to the root."""
    parts = [part for part in _fold(pattern).split("/") if part]
    anchored = pattern.startswith("/") and parts[:1] != ["**"]
    parts = [part for before, part in pairwise(["**", *parts]) if not before == part == "**"]
    try:
        if not parts or pattern.startswith("!"):
            raise ValueError("empty or negated")  # noqa: TRY301 - one place says what a usable rule is
        re.compile("".join(map(_name_regex, parts)))
    except (ValueError, re.error) as error:
        raise Invalid(
            "A deny rule is not a usable pattern.",
            field="deny",
            problem="write a glob such as '*.pem' or '.ssh/**'; a rule cannot be empty or start with '!'",
        ) from error
    return ("", *parts) if anchored else tuple(parts)


def _path_regex(parts: Sequence[str]) -> str:
    anchored = parts[0] == ""
    regex = r"\A" if anchored else r"(?:\A|(?<=/))"
    names = parts[1:] if anchored else parts
    for place, name in enumerate(names):
        last = place == len(names) - 1
        if name == "**":
            regex += "[^/]+" if last else "(?:[^/]+/)*"
        else:
            regex += _name_regex(name) + ("" if last else f"[{IGNORED_TAIL}]*/")
    return regex


def _is_glob(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def _name_regex(glob: str) -> str:
    regex = ""
    place = 0
    while place < len(glob):
        char = glob[place]
        close = glob.find("]", place + 2) if char == "[" else -1
        if char == "*":
            regex += "[^/]*"
        elif char == "?":
            regex += "[^/]"
        elif close > 0:
            regex += _class_regex(glob[place + 1 : close])
            place = close
        else:
            regex += re.escape(char)
        place += 1
    return regex


def _class_regex(inside: str) -> str:
    """`[a-z]` and `[!a-z]`; a dash is a range only between two letters or digits, all else stands for itself."""
    negated = inside[0] in "!^" and len(inside) > 1
    chars = inside[1:] if negated else inside
    regex = ""
    for place, char in enumerate(chars):
        is_range = char == "-" and chars[place - 1 : place].isalnum() and chars[place + 1 : place + 2].isalnum()
        regex += "-" if is_range else re.escape(char)
    return f"(?!/)[{'^' if negated else ''}{regex}]"


def _fold(text: str) -> str:
    """One spelling for all that a case-insensitive or normalising file system takes for the same name."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    # HFS+ ignores zero-width characters in names (CVE-2014-9390).
    return "".join(char for char in folded if unicodedata.category(char) != "Cf")


def closed_places(root: Path, places: Sequence[Path]) -> tuple[str, ...]:
    """Rules that close a server's own files and folders below `root`, wherever links lead on the way to them.

    They go before what an operator chose: nobody who may choose what a model reads means the keys of the audit. A root
    inside such a place has nothing to offer, and is refused.
    """
    real = _real(root)
    found = dict.fromkeys(spelling for place in places for spelling in _spellings(place))
    if any(real.is_relative_to(spelling) for spelling in found):
        raise invalid_root(
            f"The root folder '{root}' is one of this server's own files, or lies inside its state folder.",
            "Open another folder, or keep the state elsewhere with --state-dir.",
        )
    return tuple(
        "".join(f"/{_literal(part)}" for part in spelling.relative_to(real).parts)
        for spelling in found
        if spelling.is_relative_to(real)
    )


def _spellings(place: Path) -> list[Path]:
    """Where a place really is, and each link on the way: who replaces the link chooses what is behind it."""
    links = [each for each in (place, *place.parents) if each.is_symlink()]
    return [_real(place), *(_real(link.parent) / link.name for link in links)]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve() gives up on a ring of links


def _literal(name: str) -> str:
    """A pattern for this name alone. What folds to nothing matches whatever folds to it."""
    return "".join(f"[{char}]" if _is_glob(char) else char for char in name) if _fold(name) else "*"


DEFAULT_DENY = DenyRules(
    (
        ".env*",
        "*.pem",
        "*.key",
        "id_*",
        ".ssh/**",
        ".aws/**",
        ".netrc",
        ".git-credentials",
        ".kube/config",
        ".docker/config.json",
        ".npmrc",
        ".pypirc",
    )
)
