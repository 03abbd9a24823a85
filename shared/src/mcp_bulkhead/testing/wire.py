"""A client that says exactly what a test wants to say, in either protocol era, through any door.

The SDK's own client is polite: it cannot send a string id, leave out `arguments` or claim an old version. This one
speaks plain JSON-RPC dictionaries, waits with a bound, and keeps what it was told without asking.
"""

import itertools
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

Era = Literal["2026-07-28", "2025-11-25"]
MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
ERAS: Final = (MODERN, LEGACY)
META: Final = "io.modelcontextprotocol/"
CLIENT: Final[Mapping[str, str]] = {"name": "bulkhead-contract", "version": "1"}
PATIENCE_S: Final = 20.0
"""How long a test waits for an answer that must come: only a broken server ever takes this long."""

Frame = dict[str, Any]


class Refusal(Exception):  # noqa: N818 - a JSON-RPC error is an answer, not a bug
    """The server answered with a JSON-RPC error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = int(error["code"])
        self.message = str(error["message"])
        self.data: Any = error.get("data")


class Carrier(Protocol):
    """What takes frames to a server, and brings back what it says."""

    def start(self, deliver: Callable[[Frame], None], lost: Callable[[str], None]) -> None:
        """Begin; `lost` is called with what is known of the reason when nothing more can arrive."""
        ...

    def send(self, frame: Frame) -> None: ...
    def abandon(self, request_id: str | int) -> Frame | None:
        """Give up waiting the way this transport does it; a frame to send instead, when it has no way of its own."""
        ...

    def listen(self) -> None:
        """Open what a legacy client needs to hear of changes."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Pending:
    """A request whose answer has not been taken yet."""

    id: str | int
    method: str
    arrived: queue.SimpleQueue[Frame | str] = field(default_factory=queue.SimpleQueue[Frame | str])

    def frame(self, timeout: float = PATIENCE_S) -> Frame:
        try:
            frame = self.arrived.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no answer to {self.method} within {timeout:g} seconds") from None
        if isinstance(frame, str):
            raise ConnectionError(f"the connection was lost before {self.method} was answered: {frame}")
        return frame

    def result(self, timeout: float = PATIENCE_S) -> dict[str, Any]:
        frame = self.frame(timeout)
        if "error" in frame:
            raise Refusal(frame["error"])
        return frame["result"]

    def answered(self) -> bool:
        return not self.arrived.empty()


class Peer:
    """One client connected to one server."""

    def __init__(self, carrier: Carrier, era: str) -> None:
        self.carrier: Any = carrier  # a test of one transport reaches for what only that one has
        self.era = era
        self.modern = era == MODERN
        self.numbers = itertools.count(1)
        self.waiting: dict[str | int, Pending] = {}
        self.heard: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self.welcome: dict[str, Any] = {}
        carrier.start(self.deliver, self.lost)

    def deliver(self, frame: Frame) -> None:
        pending = self.waiting.pop(frame["id"], None) if "method" not in frame and "id" in frame else None
        if pending is None:
            self.heard.put(frame)
        else:
            pending.arrived.put(frame)

    def lost(self, why: str) -> None:
        for pending in list(self.waiting.values()):
            pending.arrived.put(why)

    # -- saying things ------------------------------------------------------------------------------------------------

    def greet(self, timeout: float = PATIENCE_S, **extra: Any) -> dict[str, Any]:
        """The era's first exchange. `extra` are further fields of a legacy client's `initialize`."""
        if self.modern:
            self.welcome = self.request("server/discover", timeout=timeout)
            return self.welcome
        params = {"protocolVersion": self.era, "capabilities": {}, "clientInfo": dict(CLIENT), **extra}
        self.welcome = self.request("initialize", params, timeout=timeout)
        self.notify("notifications/initialized")
        return self.welcome

    def begin(self, method: str, params: Mapping[str, Any] | None = None, *, id: str | int | None = None) -> Pending:  # noqa: A002 - its name on the wire
        """Send a request and go on; the answer is taken later."""
        pending = Pending(next(self.numbers) if id is None else id, method)
        self.waiting[pending.id] = pending
        self.carrier.send(self.framed(pending.id, method, params))
        return pending

    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id: str | int | None = None,  # noqa: A002 - its name on the wire
        timeout: float = PATIENCE_S,
    ) -> dict[str, Any]:
        return self.begin(method, params, id=id).result(timeout)

    def call(
        self, tool: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = PATIENCE_S
    ) -> dict[str, Any]:
        return self.begin_call(tool, arguments).result(timeout)

    def begin_call(self, tool: str, arguments: Mapping[str, Any] | None = None, **meta: Any) -> Pending:
        params: dict[str, Any] = {"name": tool, "arguments": dict(arguments or {})}
        return self.begin("tools/call", {**params, "_meta": meta} if meta else params)

    def framed(self, request_id: str | int, method: str, params: Mapping[str, Any] | None) -> Frame:
        given = dict(params or {})
        if self.modern:
            given["_meta"] = {**envelope(), **given.get("_meta", {})}
        return {"jsonrpc": "2.0", "id": request_id, "method": method, **({"params": given} if given else {})}

    def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        self.carrier.send({"jsonrpc": "2.0", "method": method, **({"params": dict(params)} if params else {})})

    def abandon(self, pending: Pending) -> None:
        """Cancel, as this client's transport and era do it."""
        self.waiting.pop(pending.id, None)
        frame = self.carrier.abandon(pending.id)
        if frame is not None:
            self.carrier.send(frame)

    # -- hearing things -----------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Ask to be told when the list of tools changes."""
        if self.modern:
            self.begin("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            self.hears("notifications/subscriptions/acknowledged")
        else:
            self.carrier.listen()

    def hears(self, method: str, timeout: float = PATIENCE_S) -> Frame:
        """The next unasked message of this kind."""
        while True:
            try:
                frame = self.heard.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(f"heard no {method} within {timeout:g} seconds") from None
            if frame.get("method") == method:
                return frame

    def close(self) -> None:
        self.carrier.close()


def envelope() -> dict[str, Any]:
    """What every request of the 2026-07-28 era carries."""
    return {
        f"{META}protocolVersion": MODERN,
        f"{META}clientInfo": dict(CLIENT),
        f"{META}clientCapabilities": {},
    }


def cancelled(request_id: str | int) -> Frame:
    return {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": request_id, "reason": "test"},
    }
