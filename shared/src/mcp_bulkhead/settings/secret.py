"""A secret that lives in a file and may be rotated while the server runs."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

CHECK_EVERY_S = 1.0
MAX_SECRET_BYTES = 65_536


class _Fingerprint(NamedTuple):
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class FileSecret(SecretStr):
    """A SecretStr whose value follows its file: looked at on use, at most once a second.

    A file that is missing, empty or unreadable for a moment (an orchestrator is swapping it) keeps the last good value.
    Raises OSError or ValueError when the first read does not yield a secret.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        value, self._seen = _read(path)
        self._checked_at = clock()
        super().__init__(value)

    def get_secret_value(self) -> str:
        now = self._clock()
        if now - self._checked_at >= CHECK_EVERY_S:
            self._checked_at = now
            self._refresh()
        return super().get_secret_value()

    def __len__(self) -> int:
        return len(self.get_secret_value())

    def _refresh(self) -> None:
        try:
            if _fingerprint(self.path.stat()) != self._seen:
                self._secret_value, self._seen = _read(self.path)
        except (OSError, ValueError):
            return


def secret_value(secret: SecretStr | None) -> str | None:
    """The secret as it is now; ask at each use and do not keep the answer, or rotation does nothing."""
    return None if secret is None else secret.get_secret_value()


def _read(path: Path) -> tuple[str, _Fingerprint]:
    # Checked before opening: opening a FIFO would wait for a writer for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is not a regular file")
    with path.open("rb") as file:
        seen = _fingerprint(os.fstat(file.fileno()))
        content = file.read(MAX_SECRET_BYTES + 1)
    if len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"is larger than {MAX_SECRET_BYTES} bytes")
    return _text(content), seen


def _text(content: bytes) -> str:
    try:
        value = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        # A fresh error: the original one carries the bytes of the secret.
        value = None
    if value is None:
        raise ValueError("is not UTF-8 text")
    if not value.strip():
        raise ValueError("is empty")
    return value


def _fingerprint(status: os.stat_result) -> _Fingerprint:
    return _Fingerprint(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
