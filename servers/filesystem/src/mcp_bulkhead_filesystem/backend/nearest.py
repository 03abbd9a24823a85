"""Where text that is not in a file nearly is, and what differs: so that the next attempt is the right one.

Every pass is linear in the file, and files and texts beyond a size are not searched: a miss must not cost more than a
hit.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice
from types import MappingProxyType
from typing import Any

MAX_FILE_CHARS = 2_000_000
MAX_OLD_CHARS = 20_000
MAX_ALIKE_LINES = 20_000
MAX_DIFF_CHARS = 700
MAX_DIFF_LINE = 160
FEW = 40
CANDIDATES = 5
COMPARED_CHARS = 400
SURE_ENOUGH = 0.5
WORD = re.compile(r"\w+")
NUMBERED = re.compile(r"^[ \t]*\d+[ ]*[:|\t\u2192-] ?", re.MULTILINE)
ALIKE: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032\u00b4`"), "'"),
        **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"), '"'),
        **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
        **dict.fromkeys(map(ord, "\u00a0\u2007\u202f\u2009\u200a\u3000"), " "),
        **dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"), ""),
    }
)

Fold = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Nearest:
    """A place in the file that is close to what was sent."""

    line: int
    lines: int
    differs: Sequence[str] = field(default_factory=tuple[str, ...])
    diff: str = ""

    def details(self) -> dict[str, Any]:
        return {"closest_line": self.line, "differs": list(self.differs), "diff": self.diff}


def nearest(text: str, old: str) -> Nearest | None:
    """The closest place, by what a person would overlook first; None when nothing is alike, or all is too large."""
    if len(text) > MAX_FILE_CHARS or len(old) > MAX_OLD_CHARS:
        return None
    found = _but_for(text, old)
    if found is None:
        found = _alike(text.split("\n"), old.strip("\n").split("\n"))
    if found is None:
        return None
    line, lines, differs = found
    there = text.split("\n")[line - 1 : line - 1 + lines]
    return Nearest(line, lines, differs, _diff(old.split("\n"), there))


def _but_for(text: str, old: str) -> tuple[int, int, Sequence[str]] | None:
    """The place that is the same but for one kind of thing, or for several of them together."""
    bare = old.rstrip("\n")
    if bare and bare != old and text.endswith(bare):
        return _place(text, len(text) - len(bare), bare, ("line end: the file ends without one",))
    sent = NUMBERED.sub("", old)
    if sent != old and (at := text.find(sent)) >= 0:
        return _place(text, at, sent, ("line numbers: they are not part of the file",))
    for name, fold in FOLDS.items():
        folded, wanted = fold(text), fold(old)
        at = folded.find(wanted) if wanted.strip() else -1
        if at >= 0:
            line, lines, _ = _place(folded, at, wanted, ())
            there = text.split("\n")[line - 1 : line - 1 + lines]
            return line, lines, _explained(name, there, old.split("\n"))
    return None


def _place(text: str, at: int, wanted: str, differs: Sequence[str]) -> tuple[int, int, Sequence[str]]:
    return text.count("\n", 0, at) + 1, wanted.count("\n") + 1, differs


def _all_folded(text: str) -> str:
    plain = unicodedata.normalize("NFC", text).translate(ALIKE).lower()
    return _each_line(plain, lambda line: " ".join(line.split()))


def _explained(name: str, there: Sequence[str], sent: Sequence[str]) -> Sequence[str]:
    """The kind of difference, with what it is made of."""
    if name == "indentation":
        # What was sent may begin in the middle of a line, so the first one tells the least.
        pairs = [pair for pair in zip(there[1:] or there, sent[1:] or sent, strict=False) if pair[0].strip()]
        for file, line in pairs:
            if _indent(file) != _indent(line):
                return (f"indentation: {_blanks(_indent(file))} in the file, {_blanks(_indent(line))} sent",)
        return ("blanks at the beginning or end of lines",)
    text, old = "\n".join(there), "\n".join(sent)
    if name == "Unicode form":
        form = "composed (NFC)" if unicodedata.is_normalized("NFC", text) else "decomposed (NFD)"
        return (f"Unicode form: accents are {form} in the file",)
    if name == "look-alikes":
        odd = sorted((set(text) ^ set(old)) & set(map(chr, ALIKE)))
        where = "in the file" if odd and odd[0] in text else "sent"
        return (f"quotes, dashes or blanks that look alike: {', '.join(f'U+{ord(c):04X}' for c in odd[:4])} {where}",)
    return (name,)


def _each_line(text: str, fold: Fold) -> str:
    return "\n".join(map(fold, text.split("\n")))


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _blanks(indent: str) -> str:
    tabs, spaces = indent.count("\t"), indent.count(" ")
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in ((tabs, "tab"), (spaces, "space")) if count]
    return " and ".join(parts) or "none"


FOLDS: Mapping[str, Fold] = MappingProxyType(
    {
        "trailing blanks": lambda text: _each_line(text, str.rstrip),
        "indentation": lambda text: _each_line(text, str.strip),
        "Unicode form": lambda text: unicodedata.normalize("NFC", text),
        "look-alikes": lambda text: text.translate(ALIKE),
        "upper and lower case": str.lower,
        "several things: blanks, quotes, case or Unicode form": _all_folded,
    }
)
"""From the difference that is overlooked most to the one that is overlooked least."""


def _alike(lines: Sequence[str], old: Sequence[str]) -> tuple[int, int, Sequence[str]] | None:
    """The lines that have most in common with what was sent."""
    starts = _by_equal_lines(lines, old) or _by_words(lines, old)
    best, score = None, SURE_ENOUGH
    sent = "\n".join(old)[:COMPARED_CHARS]
    for start in starts:
        there = "\n".join(lines[start : start + len(old)])[:COMPARED_CHARS]
        ratio = SequenceMatcher(None, there, sent, autojunk=False).ratio()
        if ratio > score:
            best, score = start, ratio
    return None if best is None else (best + 1, len(old), ("other text",))


def _by_equal_lines(lines: Sequence[str], old: Sequence[str]) -> list[int]:
    """Where most of the lines sent would be in their place. A line that is everywhere says nothing."""
    places: dict[str, list[int]] = {line.strip(): [] for line in old if line.strip()}
    for number, line in enumerate(lines):
        found = places.get(line.strip())
        if found is not None and len(found) <= FEW:
            found.append(number)
    votes: Counter[int] = Counter()
    for offset, line in enumerate(old):
        found = places.get(line.strip(), [])
        for number in found if len(found) <= FEW else ():
            votes[max(number - offset, 0)] += len(line)
    return [start for start, _ in votes.most_common(CANDIDATES)]


def _by_words(lines: Sequence[str], old: Sequence[str]) -> list[int]:
    """Where the first line with words in it has most of its words."""
    offset, wanted = next(
        ((place, set(WORD.findall(line))) for place, line in enumerate(old) if WORD.search(line)), (0, set[str]())
    )
    scores: Counter[int] = Counter()
    for number, line in enumerate(islice(lines, MAX_ALIKE_LINES)):
        if common := len(wanted.intersection(WORD.findall(line[:COMPARED_CHARS]))):
            scores[max(number - offset, 0)] = common
    return [start for start, _ in scores.most_common(CANDIDATES)]


def _diff(sent: Sequence[str], there: Sequence[str]) -> str:
    """What was sent as `-`, what is there as `+`; only the lines that differ, and no more than fit."""
    out: list[str] = []
    for one, other in zip(sent, there, strict=False):
        if one != other:
            out += (f"-{one[:MAX_DIFF_LINE]}", f"+{other[:MAX_DIFF_LINE]}")
    text = "\n".join(out)
    return text if len(text) <= MAX_DIFF_CHARS else f"{text[:MAX_DIFF_CHARS]}..."
