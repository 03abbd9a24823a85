"""Why a server cannot start with these settings, said for the person at the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ..errors import Invalid

MAX_NAME_CHARS = 80
MIN_CONCEALED_CHARS = 4


class Given(NamedTuple):
    """A value, and the place it was given at in the words of whoever wrote it there."""

    value: Any
    origin: str


class Problem(NamedTuple):
    """One thing that is wrong, and the lines that say how to put it right; `setting` is what it is about, if known."""

    kind: Literal["unknown", "missing", "invalid"]
    where: str
    what: str
    fixes: tuple[str, ...] = ()
    setting: str | None = None

    def __str__(self) -> str:
        return "\n".join([f"  {self.where}: {self.what}", *(f"      {fix}" for fix in self.fixes)])


class SettingsError(Invalid):
    """The settings cannot be used. `message` is complete and safe to print: it never holds a secret's value."""

    code = "invalid_settings"

    def __init__(self, program: str, problems: Sequence[Problem], *, conceal: Iterable[str] = ()) -> None:
        count = "1 setting needs" if len(problems) == 1 else f"{len(problems)} settings need"
        hint = f"{program} --help lists every setting."
        text = "\n\n".join([f"{program} cannot start: {count} attention.", *map(str, problems), hint])
        super().__init__(_printable(_concealed(text, conceal)), hint=hint)
        self.problems = tuple(problems)


def nearest(name: str, candidates: Iterable[str], *, prefix: str = "") -> str | None:
    """The candidate most like `name`, whatever its dashes and case."""
    from difflib import get_close_matches

    keys = {_plain(candidate, prefix): candidate for candidate in candidates}
    found = get_close_matches(_plain(name, prefix), keys, n=1)
    return keys[found[0]] if found else None


def unknown(name: str, candidates: Mapping[str, str | None], *, source: str, prefix: str = "") -> Problem:
    """`candidates` are the right names at this place, each with the setting it gives."""
    guess = nearest(name, candidates, prefix=prefix)
    shown = name if len(name) <= MAX_NAME_CHARS else f"{name[:MAX_NAME_CHARS]}..."
    fixes = (f"Did you mean {guess}?",) if guess else ()
    return Problem("unknown", f"{shown} ({source})", "no such setting.", fixes, candidates[guess] if guess else None)


def _plain(name: str, prefix: str) -> str:
    return name.lower().removeprefix(prefix.lower()).lstrip("-").replace("-", "_")


def _concealed(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MIN_CONCEALED_CHARS:  # shorter ones would tear holes into ordinary words
            text = text.replace(secret, "[secret]")
    return text


def _printable(text: str) -> str:
    """Names come from outside: no terminal sequence and no lone surrogate may leave through an error message."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
