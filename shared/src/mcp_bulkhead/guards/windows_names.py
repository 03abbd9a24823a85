"""The rules of Windows names, as text. What the system would rewrite or send to a device is refused, not repaired."""

import errno
import os

from .path_failures import invalid_path

FORBIDDEN = frozenset('<>"|?*')
DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)


def windows_parts(path: str) -> list[str]:
    """The names on the way down. ".." only shortens the text, which is right because no link is ever followed here."""
    slashed = path.replace("\\", "/")
    if slashed.startswith("//"):
        raise invalid_path("network and device prefixes are not accepted")
    if slashed.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    parts: list[str] = []
    for part in slashed.split("/"):
        if part == "..":
            if not parts:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            parts.pop()
        elif part not in ("", "."):
            check_windows_name(part)
            parts.append(part)
    return parts


def check_windows_name(name: str) -> None:
    if ":" in name:
        raise invalid_path("a colon names a drive or a hidden stream")
    if name[-1] in " .":
        raise invalid_path("a name cannot end with a dot or a space here")
    if any(char in FORBIDDEN or ord(char) < ord(" ") for char in name):
        raise invalid_path("a name holds a character that is not allowed here")
    # "nul.txt" and "nul .txt" are the device as well.
    if name.partition(".")[0].rstrip(" ").lower() in DEVICES:
        raise invalid_path("a name is that of a device")


def path_after_drive_slash(path: str) -> str:
    """`/C:/x`, as a file URI has it, without the slash that comes before the drive."""
    return path[1:] if path[2:3] == ":" and path[1].isalpha() else path


def below(root: str, final: str) -> str:
    """Where a handle's final path lies below the root's final path. Both come from the system, so their case agrees."""
    inside = final[len(root) :].lstrip("\\")
    if final != root and not (final.startswith(root) and (root.endswith("\\") or final[len(root)] == "\\")):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return inside.replace("\\", "/")
