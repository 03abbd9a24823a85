"""The fixture's outside world: one folder of notes, and a journal that tests read."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import anyio

from mcp_bulkhead.errors import Conflict, Invalid, Missing, OutsideRoot, Unavailable

from .settings import Settings

MAX_NAME = 60

log = logging.getLogger("some_library")


class Playground:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.notes = settings.folder / "notes"

    async def __aenter__(self) -> Self:
        self.write_down("opened")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.write_down("closed")

    async def check(self) -> dict[str, Any]:
        if (self.settings.folder / "down").exists():
            raise Unavailable("The playground is closed.", hint="Wait.")
        return {"folder": str(self.settings.folder)}

    def write_down(self, what: str) -> None:
        with self.settings.journal.open("a") as journal:
            journal.write(f"{time.monotonic():.3f} {what}\n")

    @contextmanager
    def noted(self, name: str) -> Generator[None]:
        """The journal shows how the block began and ended, a cancelled one included."""
        self.write_down(f"started {name}")
        try:
            yield
        except BaseException:
            self.write_down(f"stopped {name}")
            raise
        self.write_down(f"finished {name}")

    async def wait(self, seconds: float, name: str) -> None:
        with self.noted(name):
            await anyio.sleep(seconds)

    async def block_a_thread(self, seconds: float, name: str) -> None:
        """Like a read from a dead mount: the thread cannot be stopped, only left behind."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def stuck() -> None:
            time.sleep(seconds)
            with suppress(RuntimeError):  # the loop may be gone by then
                loop.call_soon_threadsafe(done.set_result, None)

        with self.noted(name):
            threading.Thread(target=stuck, daemon=True).start()
            await done

    async def lose_heart(self) -> None:
        """What a library does whose own task was cancelled: the error looks like ours, and is not."""
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def run_child(self, seconds: float, name: str) -> None:
        """A child that outlives nobody: it is killed when the call ends."""
        child = await anyio.open_process(
            [sys.executable, "-c", f"import time; time.sleep({seconds})"], stdin=None, stdout=None
        )
        with self.noted(f"{name} {child.pid}"):
            try:
                await child.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    if child.returncode is None:
                        child.kill()
                    await child.aclose()

    def make_noise(self, text: str) -> None:
        """Everything that might reach standard output, except the protocol."""
        print(text)
        sys.stdout.write(text)
        sys.stdout.flush()
        os.write(1, text.encode())
        subprocess.run([sys.executable, "-c", f"print({text!r})"], check=True, timeout=10)
        log.warning("a library has something to say")
        logging.getLogger().error("and so has another")

    def place(self, path: str) -> Path:
        if "\0" in path or max(map(len, path.split("/"))) > MAX_NAME:
            raise Invalid("That is no path.", field="path", problem="is no path", hint="Name a note below notes/.")
        place = (self.notes / path).resolve()
        if not place.is_relative_to(self.notes.resolve()):
            raise OutsideRoot("That is not among the notes.", hint="Name a note below notes/.")
        return place

    def note(self, path: str) -> str:
        place = self.place(path)
        if not place.is_file():
            raise Missing("There is no such note.", hint="Read tides/spring.txt.")
        return place.read_text(errors="surrogateescape")

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.notes).as_posix() for path in self.notes.rglob("*.txt"))

    def keep(self, path: str, text: str) -> int:
        place = self.place(path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            return place.write_bytes(text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise Conflict("That place is taken.", hint="Choose another path.") from error
