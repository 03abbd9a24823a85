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

CHUNK: Final = 65_536
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

    def __init__(self, wire: Wire, most: int, deliver: Callable[[Incoming | None], None], refuse: Refuse) -> None:
        super().__init__(name="bulkhead-stdin", daemon=True)
        self.wire, self.most, self.deliver, self.refuse = wire, most, deliver, refuse

    def run(self) -> None:
        pending, skipping = bytearray(), False
        with suppress(OSError, RuntimeError):
            while chunk := os.read(self.wire.incoming, CHUNK):
                pending += chunk
                while (end := pending.find(b"\n")) >= 0:
                    line = bytes(pending[:end])
                    del pending[: end + 1]
                    if not skipping:
                        self.take(line)
                    skipping = False
                if len(pending) > self.most:
                    if not skipping:
                        self.refuse(f"request larger than {self.most} bytes", types.INVALID_REQUEST)
                    pending.clear()
                    skipping = True
        with suppress(RuntimeError):  # the loop may be gone already
            self.deliver(None)

    def take(self, line: bytes) -> None:
        if len(line) > self.most:
            self.refuse(f"request larger than {self.most} bytes", types.INVALID_REQUEST)
        elif line.strip():
            try:
                self.deliver(parsed(line))
            except ValidationError as error:  # answered here: the SDK drops such a frame, and the client would wait
                broken = error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"
                if broken:
                    self.refuse("malformed JSON", types.PARSE_ERROR)
                else:
                    self.refuse("not a JSON-RPC message", types.INVALID_REQUEST)


def parsed(line: bytes) -> SessionMessage:
    text = line.decode("utf-8", "replace")
    return SessionMessage(types.jsonrpc_message_adapter.validate_json(text, by_name=False))


class Writer(threading.Thread):
    """Writes finished lines; a client that stopped reading blocks this thread and nothing else."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(name="bulkhead-stdout", daemon=True)
        self.wire = wire
        self.lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.broken = threading.Event()

    def run(self) -> None:
        try:
            while (line := self.lines.get()) is not None:
                view = memoryview(line)
                while view:
                    view = view[os.write(self.wire.outgoing, view) :]
        except OSError:
            self.broken.set()

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
        writer.lines.put(REFUSAL % (code, why.encode()))
        loop.call_soon_threadsafe(refused, why)

    async def send() -> None:
        async with outgoing_receive:
            async for message in outgoing_receive:
                text: str = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                writer.lines.put(text.encode("utf-8", "backslashreplace") + b"\n")

    writer.start()
    Reader(wire, most, lambda message: loop.call_soon_threadsafe(arrive, message) and None, refuse).start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        try:
            yield incoming, outgoing
        finally:
            incoming.close()
            with anyio.CancelScope(shield=True):
                await drain(tasks, outgoing)
    writer.finish(0.2)


async def drain(tasks: Any, outgoing: MemoryObjectSendStream[SessionMessage]) -> None:
    """Let what was answered leave before the writer stops."""
    await outgoing.aclose()
    with anyio.move_on_after(0.2):
        await anyio.lowlevel.checkpoint()
    tasks.cancel_scope.cancel()
