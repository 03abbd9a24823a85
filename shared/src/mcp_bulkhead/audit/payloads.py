"""Full arguments and results, kept only on request: one private file each, named by the digest a record carries."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from .files import open_file, private_folder, write_all
from .keys import DIGEST_CHARS

PAYLOAD: Final = re.compile(rf"[0-9a-f]{{{DIGEST_CHARS}}}\.json\Z")
MAX_PAYLOAD_BYTES: Final = 16 << 20


def payload_folder(server_folder: Path) -> Path:
    return server_folder / "payloads"


def write_payload(server_folder: Path, name: str, data: bytes, now: float) -> None:
    """Equal payloads share a file, which then lives as long as the last record that names it."""
    path = private_folder(payload_folder(server_folder)) / f"{name}.json"
    try:
        fd = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        os.utime(path, (now, now))
        return
    try:
        write_all(fd, data)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(fd)
    os.utime(path, (now, now))


def expire_payloads(server_folder: Path, before: float) -> None:
    for path in payload_files(server_folder):
        with suppress(OSError):
            if path.lstat().st_mtime < before:
                path.unlink()


def drop_oldest(server_folder: Path, excess: int) -> int:
    """Removes the longest unused payloads until `excess` bytes are gone; returns how many bytes too many are left."""
    found: list[tuple[float, int, Path]] = []
    for path in payload_files(server_folder):
        with suppress(OSError):
            status = path.lstat()
            found.append((status.st_mtime, status.st_size, path))
    for _, size, path in sorted(found):
        if excess <= 0:
            break
        with suppress(OSError):
            path.unlink()
            excess -= size
    return excess


def size_of_payloads(server_folder: Path) -> int:
    total = 0
    for path in payload_files(server_folder):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def payload_files(server_folder: Path) -> list[Path]:
    try:
        entries = list(payload_folder(server_folder).iterdir())
    except OSError:
        return []
    return sorted(entry for entry in entries if PAYLOAD.match(entry.name))
