"""The little that lies behind the answers: a picture, a sound, and a hand on the kill switch."""

import base64
from pathlib import Path
from typing import Any, Final, Self

PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
"""One red pixel, as PNG."""

SILENCE: Final = (
    b"RIFF\x26\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
    b"data\x02\x00\x00\x00\x00\x00"
)
"""One sample of silence, as WAV."""


class Stage:
    """Everything that the tools show."""

    def __init__(self, kill_file: Path) -> None:
        self.kill_file = kill_file

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    async def check(self) -> dict[str, Any]:
        return {}

    def turn_switch(self) -> None:
        """Switch a tool off that nobody calls, or on again: to every client that is a change of the list."""
        if self.kill_file.exists():
            self.kill_file.unlink()
        else:
            self.kill_file.parent.mkdir(parents=True, exist_ok=True)
            self.kill_file.write_text("test_never_called\n")
