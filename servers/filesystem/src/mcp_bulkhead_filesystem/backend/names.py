r"""File names as a model sees them and can send them back.

A name shows unchanged unless it holds what a reader would not see: bytes that are not UTF-8, control, bidi, zero-
width and look-alike blank characters. Those are written byte by byte as `\xe9`, and a backslash that would read as
such an escape is written `\x5c`. So is the first sign of a name that would begin a line as `-- ` or `==` do, which
are the server's own. The form is reversible and passes the library's cleaning unchanged, so a listed name
can be sent back as it stands. A name typed literally still works: the escape is tried first, then the text as given.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from mcp_bulkhead.errors import Failure, Missing
from mcp_bulkhead.guards.paths import Place, RootFS
from mcp_bulkhead.guards.text import SUSPECT, is_plain

Found = TypeVar("Found")

ESCAPE = re.compile(r"\\x[0-9a-fA-F]{2}")
# Blanks a model copies as an ordinary space; the ideographic one (U+3000) it keeps.
BLANKS = re.compile("[\n\t\u00a0\u1680\u2000-\u200a\u202f\u205f]")
UNNAMEABLE = (0x00, 0x2F)
OURS = ("-- ", "==")
"""How the server's own lines begin, between and behind those that show names."""


def visible(path: str) -> str:
    """The form of a name or relative path that is shown."""
    if path.startswith(OURS) or path == "--":
        return f"\\x{ord(path[0]):02x}{_rest_visible(path[1:])}"
    return _rest_visible(path)


def _rest_visible(path: str) -> str:
    if path.isprintable() and "\\" not in path and path.isascii():
        return path
    if is_plain(path) and not BLANKS.search(path) and not ESCAPE.search(path):
        return path
    return "".join(_shown(path, place, char) for place, char in enumerate(path))


def named(shown: str) -> str:
    r"""The name behind a shown form: `\xHH` runs become bytes again."""
    if not ESCAPE.search(shown):
        return shown
    raw = re.sub(rb"\\x([0-9a-fA-F]{2})", _byte, shown.encode("utf-8", "surrogatepass"))
    return raw.decode("utf-8", "surrogateescape")


def meanings(place: Place) -> Iterator[Place]:
    """What a path may mean: the escapes undone, then as it was sent."""
    spoken = named(place.rel)
    if spoken != place.rel:
        yield replace(place, rel=spoken)
    yield place


def first_that_exists(place: Place, use: Callable[[RootFS, str], Found]) -> tuple[Found, Place]:
    """`use` on the first meaning of the path that is there."""
    *others, literal = meanings(place)
    for meaning in others:
        try:
            return use(meaning.root, meaning.rel), meaning
        except Failure as failure:
            if not is_absent(failure):
                raise
    return use(literal.root, literal.rel), literal


def is_absent(failure: Failure) -> bool:
    """Nothing of this name, so that another reading of the same text may be tried."""
    return isinstance(failure, Missing) or failure.reason in ("not_dir", "invalid_path", "name_too_long")


def below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def uri_of(root: RootFS, rel: str) -> str:
    """The file URI that names this place from anywhere."""
    return "file://" + quote(os.fsencode(below(root.path.rstrip("/"), rel)), safe="/")


def _shown(path: str, place: int, char: str) -> str:
    if char == "\\":
        return r"\x5c" if ESCAPE.match(path, place) else char
    if SUSPECT.match(char) or BLANKS.match(char):
        return "".join(f"\\x{byte:02x}" for byte in _bytes(char))
    return char


def _bytes(char: str) -> bytes:
    return char.encode("utf-8", "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass")


def _byte(match: re.Match[bytes]) -> bytes:
    value = int(match[1], 16)
    return match[0] if value in UNNAMEABLE else bytes((value,))
