"""What a path may look like before any file system sees it. Pure text: where it leads is decided elsewhere."""

import os
import unicodedata
from urllib.parse import unquote_to_bytes

from .path_failures import invalid_path, name_too_long, outside
from .windows_names import path_after_drive_slash

# The kernel's PATH_MAX counts the closing NUL.
MAX_PATH_BYTES = 4_095


def check_text(path: str) -> None:
    """Refuse what no POSIX call can take."""
    if "\0" in path:
        raise invalid_path("it contains a NUL character")
    try:
        size = len(path) if path.isascii() else len(os.fsencode(path))
    except UnicodeEncodeError as error:
        raise invalid_path("it contains half a character (a lone surrogate)") from error
    if size > MAX_PATH_BYTES:
        raise name_too_long()


def check_relative(path: str) -> None:
    check_text(path)
    if path.startswith("/"):
        raise outside()


def check_name(name: str) -> None:
    """One name in one folder: the fast forms join it to an open handle, so it must not be able to move."""
    check_text(name)
    if "/" in name or name in ("", ".", ".."):
        raise invalid_path("one plain name is expected here")


def check_typed(path: str) -> None:
    """What a model may send: `check_text`, and nothing empty or unprintable."""
    if not path:
        raise invalid_path("it is empty")
    check_text(path)
    if any(unicodedata.category(char) == "Cc" for char in path):
        raise invalid_path("it contains a control character")


def decode_file_uri(text: str) -> str:
    """A `file://` URI as a path, decoded exactly once; anything else unchanged."""
    if text[:7].lower() != "file://":
        return text
    host, slash, rest = text[7:].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise invalid_path("a file URI must name this machine: file:///folder/file")
    path = os.fsdecode(unquote_to_bytes("/" + rest))
    check_typed(path)
    return path_after_drive_slash(path) if os.sep == "\\" else path


def split_parts(path: str) -> list[str]:
    """The parts a kernel would walk; a slash at the end demands a folder, as "." does."""
    parts = [part for part in path.split("/") if part]
    return [*parts, "."] if path.endswith("/") and parts else parts


def tidy(path: str) -> str:
    """The same path without ".", ".." and empty parts. Right only where no part is a link."""
    if not path.startswith(".") and "/." not in path and "//" not in path and not path.endswith("/"):
        return path
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/".join(kept)


def same_name(one: str, other: str) -> bool:
    """Canonically equal, as macOS and many keyboards mix the composed and decomposed forms."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
