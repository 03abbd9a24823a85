"""HTTP as bytes: for sending a wrong Host, a body that is too long, or no end at all. One request a socket."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from .processes import Process
from .wire import MODERN, PATIENCE_S, Frame, Peer, cancelled

if TYPE_CHECKING:
    from ..spec import ServerSpec, World

BOTH: Final = "application/json, text/event-stream"
NAMED: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


@dataclass(slots=True)
class Response:
    """Status and headers of one answer; its body is read when asked for."""

    status: int
    headers: dict[str, str]
    stream: IO[bytes]
    socket: socket.socket

    def pieces(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.stream.readline().split(b";")[0] or b"0", 16):
                yield self.stream.read(size)
                self.stream.readline()
        elif "content-length" in self.headers:
            yield self.stream.read(int(self.headers["content-length"]))
        elif self.status not in (202, 204):
            while piece := self.stream.read1(65_536):  # type: ignore[attr-defined]
                yield piece

    def body(self) -> bytes:
        try:
            return b"".join(self.pieces())
        finally:
            self.close()

    def frames(self) -> Iterator[Frame]:
        """The JSON-RPC messages in the answer, whichever of its two forms it has."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            try:
                yield from self.events()
            finally:
                self.close()
            return
        body = self.body()
        if body:
            yield cast("Frame", json.loads(body))

    def events(self) -> Iterator[Frame]:
        pending = b""
        for piece in self.pieces():
            pending += piece.replace(b"\r\n", b"\n")
            while b"\n\n" in pending:
                event, _, pending = pending.partition(b"\n\n")
                data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
                if data:
                    yield cast("Frame", json.loads(data))

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.stream.close()
        self.socket.close()


def ask(
    address: tuple[str, int],
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    opened: Callable[[socket.socket], None] | None = None,
) -> Response:
    """One request, written as it stands. `Host` is right unless `headers` says otherwise."""
    connection = socket.create_connection(address, PATIENCE_S)
    if opened is not None:
        opened(connection)
    told = {"Host": f"{address[0]}:{address[1]}", "Connection": "close", **(headers or {})}
    if body is not None and "Transfer-Encoding" not in told:
        told.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    with suppress(BrokenPipeError, ConnectionResetError):  # it has answered already: the answer says why
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))
    stream = connection.makefile("rb")
    try:
        status = int(stream.readline().split()[1])
        got: dict[str, str] = {}
        while line := stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            got[name.lower()] = value.strip()
    except (OSError, ValueError, IndexError):
        stream.close()
        connection.close()
        raise
    return Response(status, got, stream, connection)


class HttpCarrier:
    """Every request is a POST of its own; a legacy session hears the rest on a stream it opens."""

    def __init__(self, address: tuple[str, int], era: str, headers: Mapping[str, str] | None = None) -> None:
        self.address, self.era = address, era
        self.headers = dict(headers or {})
        self.session: str | None = None
        self.open: dict[str | int, socket.socket] = {}
        self.streams: list[Response] = []
        self.threads: list[threading.Thread] = []

    def start(self, deliver: Callable[[Frame], None], lost: Callable[[str], None]) -> None:
        self.deliver, self.lost = deliver, lost

    def send(self, frame: Frame) -> None:
        if "id" not in frame or frame["method"] == "initialize":
            self.exchange(frame)
            return
        ready = threading.Event()
        self.spawn(lambda: self.exchange(frame, ready.set))
        ready.wait(PATIENCE_S)

    def exchange(self, frame: Frame, opened: Callable[[], None] | None = None) -> None:
        def connected(connection: socket.socket) -> None:
            if "id" in frame:
                self.open[frame["id"]] = connection
            if opened is not None:
                opened()

        try:
            response = ask(
                self.address, "POST", "/mcp", self.headers_of(frame), json.dumps(frame).encode(), opened=connected
            )
            if frame["method"] == "initialize":
                self.session = response.headers.get("mcp-session-id")
            for message in response.frames():
                self.deliver(message)
        except (OSError, ValueError, IndexError) as error:
            self.lost(repr(error))  # hung up, by this client or by the end of the server
        finally:
            self.open.pop(frame.get("id", ""), None)

    def headers_of(self, frame: Frame) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": BOTH, **self.headers}
        if self.session is not None:
            headers |= {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": self.era}
        if self.era == MODERN:
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": frame["method"]}
            key = NAMED.get(frame["method"])
            name = frame.get("params", {}).get(key) if key else None
            if isinstance(name, str):
                headers["Mcp-Name"] = in_a_header(name)
        return headers

    def abandon(self, request_id: str | int) -> Frame | None:
        if self.era != MODERN:
            return cancelled(request_id)
        connection = self.open.pop(request_id, None)
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
        return None

    def listen(self) -> None:
        response = ask(self.address, "GET", "/mcp", {**self.headers_of({"method": ""}), "Accept": "text/event-stream"})
        assert response.status == 200, response.status  # noqa: PLR2004 - OK
        self.streams.append(response)
        self.spawn(lambda: self.follow(response))

    def follow(self, response: Response) -> None:
        try:
            for message in response.frames():
                self.deliver(message)
        except (OSError, ValueError):
            return

    def spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self.threads.append(thread)
        thread.start()

    def close(self) -> None:
        for connection in [*self.open.values(), *(response.socket for response in self.streams)]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(2)


def in_a_header(value: str) -> str:
    """A value as the protocol mirrors it: as it is, or marked base64 when a header could not carry it."""
    if value.isascii() and value.isprintable() and value == value.strip() and not value.startswith("=?"):
        return value
    import base64

    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


class HttpServer:
    """One process behind a port of its own; any number of clients in both eras."""

    def __init__(self, spec: "ServerSpec", world: "World", state: Path, flags: Sequence[str]) -> None:
        self.process = Process(spec, world, state, ["--http", "127.0.0.1:0", *flags])
        self.peers: list[Peer] = []
        self.headers: dict[str, str] = {}
        try:
            line = self.process.complaint_with("serving on http://")
        except TimeoutError:
            self.process.close()
            raise
        port = line.partition("serving on http://")[2].partition("/mcp")[0].rpartition(":")[2]
        self.address = ("127.0.0.1", int(port))

    def connect(self, era: str) -> Peer:
        peer = Peer(HttpCarrier(self.address, era, self.headers), era)
        self.peers.append(peer)
        return peer

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        return ask(self.address, method, path, headers, body)

    def post(self, message: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        given = {"Content-Type": "application/json", "Accept": BOTH, **(headers or {})}
        return ask(self.address, "POST", "/mcp", given, json.dumps(message).encode())

    def records(self) -> list[dict[str, Any]]:
        return self.process.records()

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        if self.process.popen.poll() is None:
            self.process.popen.terminate()
            self.process.wait()
        self.process.close()
