"""JSON lines over stdin and stdout, with a size cap and no stray byte.

The SDK's stdio reads lines of any length and hops threads twice per message. Here one daemon thread reads and one
writes; neither can keep the process alive, and file descriptor 1 points at stderr for everybody but the writer.
"""

import os
import queue
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from pydantic import ValidationError
from pydantic_core import from_json

CHUNK: Final = 65_536
PAUSE_AT: Final = 32_000_000
DROP_AT: Final = 64_000_000
"""Bytes that wait to be read by the client: from the first on no request is taken in, from the second on answers are
replaced by a short error. What is in work when the reader pauses must fit in between."""

LOOK_AGAIN_S: Final = 0.2
UNREAD: Final = "busy: the answers before this one are not being read, so this one was dropped"
REFUSAL: Final = b'{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":"%s"}}\n'
Incoming = SessionMessage | Exception
Refuse = Callable[[str, int], None]


class Wire:
    """The two real descriptors, taken away from everything else in the process."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self.incoming = duplicate(0)
        self.outgoing = duplicate(1)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)
        os.dup2(2, 1)


def duplicate(descriptor: int) -> int:
    """A copy that children do not inherit and that cannot land on a standard descriptor."""
    copy = os.dup(descriptor)
    os.set_inheritable(copy, False)
    if copy <= 2:  # noqa: PLR2004 - 0, 1 and 2 are the standard descriptors
        higher = duplicate(descriptor)
        os.close(copy)
        return higher
    return copy


class Reader(threading.Thread):
    """Reads lines and hands them to the event loop; a line over the cap is answered and skipped, never stored."""

    def __init__(
        self,
        wire: Wire,
        most: int,
        deliver: Callable[[Incoming | None], None],
        refuse: Refuse,
        has_room: Callable[[float], bool] = lambda _: True,
    ) -> None:
        super().__init__(name="bulkhead-stdin", daemon=True)
        self.wire, self.most, self.deliver, self.refuse, self.has_room = wire, most, deliver, refuse, has_room

    def run(self) -> None:
        pending, skipping = bytearray(), False
        with suppress(OSError, RuntimeError):
            while chunk := os.read(self.wire.incoming, CHUNK):
                pending += chunk
                while (end := pending.find(b"\n")) >= 0:
                    line = bytes(pending[:end])
                    del pending[: end + 1]
                    if not skipping:
                        self.hold()
                        self.take(line)
                    skipping = False
                if len(pending) > self.most:
                    if not skipping:
                        self.refuse(f"request larger than {self.most} bytes", types.INVALID_REQUEST)
                    pending.clear()
                    skipping = True
        with suppress(RuntimeError):  # the loop may be gone already
            self.deliver(None)

    def hold(self) -> None:
        """Take nothing in while the client does not read what it asked for, unless it has left."""
        while not self.has_room(LOOK_AGAIN_S) and not left(self.wire.incoming):
            continue

    def take(self, line: bytes) -> None:
        if len(line) > self.most:
            self.refuse(f"request larger than {self.most} bytes", types.INVALID_REQUEST)
        elif line.strip():
            try:
                message = parsed(line)
                if id_is_broken(message, line):
                    self.refuse("the id is neither a string nor an integer", types.INVALID_REQUEST)
                else:
                    self.deliver(message)
            except ValidationError as error:  # answered here: the SDK drops such a frame, and the client would wait
                broken = error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"
                if broken:
                    self.refuse("malformed JSON", types.PARSE_ERROR)
                else:
                    self.refuse("not a JSON-RPC message", types.INVALID_REQUEST)


def parsed(line: bytes) -> SessionMessage:
    text = line.decode("utf-8", "replace")
    return SessionMessage(types.jsonrpc_message_adapter.validate_json(text, by_name=False))


def id_is_broken(message: SessionMessage, line: bytes) -> bool:
    """A request with an id that is none is read as a notification: nobody would answer it, or write it down."""
    if isinstance(message.message, types.JSONRPCRequest):
        return False
    frame = from_json(line.decode("utf-8", "replace"))
    return "method" in frame and "id" in frame


def left(descriptor: int) -> bool:
    """Whether the other end is closed, whatever still lies in between."""
    import select

    if not hasattr(select, "poll"):  # Windows: a signal, or the end of its reading, tells
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


class Writer(threading.Thread):
    """Writes finished lines; a client that stopped reading blocks this thread and nothing else."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(name="bulkhead-stdout", daemon=True)
        self.wire = wire
        self.lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.broken = threading.Event()
        self.waiting = 0
        self.drained = threading.Condition()

    def put(self, line: bytes) -> None:
        if self.broken.is_set():  # nobody takes lines out any more
            return
        with self.drained:
            self.waiting += len(line)
        self.lines.put(line)

    def has_room(self, timeout: float) -> bool:
        with self.drained:
            return self.drained.wait_for(lambda: self.waiting < PAUSE_AT or self.broken.is_set(), timeout)

    def run(self) -> None:
        try:
            while (line := self.lines.get()) is not None:
                view = memoryview(line)
                while view:
                    view = view[os.write(self.wire.outgoing, view) :]
                self.written(len(line))
        except OSError:
            self.broken.set()
            self.written(0)

    def written(self, size: int) -> None:
        with self.drained:
            self.waiting -= size
            self.drained.notify_all()

    def finish(self, timeout: float) -> None:
        self.lines.put(None)
        self.join(timeout)


@asynccontextmanager
async def stdio(
    wire: Wire, *, most: int, refused: Callable[[str], None]
) -> AsyncGenerator[tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]]:
    """The stream pair a server runs on. `refused` hears about frames that never became a request."""
    import asyncio

    loop = asyncio.get_running_loop()
    incoming_send, incoming = anyio.create_memory_object_stream[Incoming](float("inf"))
    outgoing, outgoing_receive = anyio.create_memory_object_stream[SessionMessage](0)
    writer = Writer(wire)

    def arrive(message: Incoming | None) -> None:
        if message is None:
            incoming_send.close()
        else:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                incoming_send.send_nowait(message)

    def refuse(why: str, code: int) -> None:
        writer.put(REFUSAL % (code, why.encode()))
        loop.call_soon_threadsafe(refused, why)

    async def send() -> None:
        async with outgoing_receive:
            async for message in outgoing_receive:
                line = line_of(message, full=writer.waiting > DROP_AT)
                if line is not None:
                    writer.put(line)

    writer.start()
    deliver: Callable[[Incoming | None], None] = lambda message: loop.call_soon_threadsafe(arrive, message) and None  # noqa: E731
    Reader(wire, most, deliver, refuse, writer.has_room).start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        try:
            yield incoming, outgoing
        finally:
            incoming.close()
            with anyio.CancelScope(shield=True):
                await drain(tasks, outgoing)
    writer.finish(0.2)


def line_of(message: SessionMessage, *, full: bool) -> bytes | None:
    """The line to write; where too much waits already, a short word instead of an answer and nothing else."""
    said = message.message
    if full:
        if not isinstance(said, types.JSONRPCResponse | types.JSONRPCError):
            return None
        said = types.JSONRPCError(
            jsonrpc="2.0", id=said.id, error=types.ErrorData(code=types.INTERNAL_ERROR, message=UNREAD)
        )
    return said.model_dump_json(by_alias=True, exclude_unset=True).encode("utf-8", "backslashreplace") + b"\n"


async def drain(tasks: Any, outgoing: MemoryObjectSendStream[SessionMessage]) -> None:
    """Let what was answered leave before the writer stops."""
    await outgoing.aclose()
    with anyio.move_on_after(0.2):
        await anyio.lowlevel.checkpoint()
    tasks.cancel_scope.cancel()
