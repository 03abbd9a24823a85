"""How to reach a server: in memory, over the pipes of a process, or over HTTP. One way to open each."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from .memory import MemoryServer
from .processes import StdioServer
from .web import HttpServer

if TYPE_CHECKING:
    from ..spec import ServerSpec, World
    from .wire import Peer

Door = Literal["memory", "stdio", "http"]
DOORS: Final = ("memory", "stdio", "http")

UNHURRIED: Final = ("--rate-limit-per-minute", "0", "--repeat-limit", "0")
"""A suite asks more and oftener than a model may: limits have tests of their own."""


class Opened(Protocol):
    """A server that can be connected to, whatever lies between."""

    def connect(self, era: str) -> "Peer": ...
    def records(self) -> list[dict[str, Any]]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class House:
    """A running server in a world of its own."""

    spec: "ServerSpec"
    world: "World"
    state: Path
    server: Any

    def connect(self, era: str) -> "Peer":
        """A client that has been greeted."""
        peer: Peer = self.server.connect(era)
        peer.greet()
        return peer


@contextmanager
def opened(spec: "ServerSpec", door: str, directory: Path, flags: Sequence[str] = UNHURRIED) -> Generator[House]:
    """Start `spec` behind `door` in a new world below `directory`; everything is gone at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    state = directory / "state"
    with spec.world(directory / "world") as world:
        server: Opened
        if door == "memory":
            server = MemoryServer(spec, settings_of(spec, world, state, flags))
        elif door == "stdio":
            server = StdioServer(spec, world, state, flags)
        else:
            server = HttpServer(spec, world, state, flags)
        try:
            yield House(spec, world, state, server)
        finally:
            server.close()


def settings_of(spec: "ServerSpec", world: "World", state: Path, flags: Sequence[str]) -> Any:
    from ..settings import parse

    parsed = parse(
        spec.settings(),
        server=spec.name,
        version=spec.version,
        description=spec.summary,
        argv=["--state-dir", str(state), *flags, *world.arguments],
        environ=dict(world.environment),
    )
    assert parsed.settings is not None
    return parsed.settings
