"""A server in a thread of this process, spoken to over memory streams: the quickest door, and the same wire."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from .wire import Frame, Peer, cancelled

if TYPE_CHECKING:
    from ..pipeline.adapter import BulkheadServer
    from ..settings import ServerSettings
    from ..spec import ServerSpec

START_S: Final = 20.0


class Recorded:
    """An audit that keeps its records in a list: for asking what was written down, not for keeping it."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, record: Mapping[str, Any]) -> None:
        self.records.append(dict(record))

    async def append_durable(self, record: Mapping[str, Any]) -> int:
        self.append(record)
        return len(self.records)

    def digest(self, value: Any) -> str:
        """A digest that does not depend on a key."""
        return "test:" + hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()[:16]

    def keep_payload(self, value: Any, /) -> str:
        return self.digest(value)


class MemoryCarrier:
    """One server on its own event loop, for one connection."""

    def __init__(self, build: "Callable[[], BulkheadServer]") -> None:
        self.build = build
        self.ready: Future[BulkheadServer] = Future()
        self.thread = threading.Thread(target=self.work, name="bulkhead-memory-door", daemon=True)

    def start(self, deliver: Callable[[Frame], None], lost: Callable[[str], None]) -> None:
        self.deliver, self.lost = deliver, lost
        self.thread.start()
        self.server = self.ready.result(START_S)

    def work(self) -> None:
        import anyio

        try:
            anyio.run(self.serve)
        except BaseException as error:
            if self.ready.done():
                self.lost(repr(error))
                raise
            self.ready.set_exception(error)  # whoever opened the door raises it

    async def serve(self) -> None:
        import anyio
        from mcp.shared.message import SessionMessage

        server = self.build()
        self.loop = asyncio.get_running_loop()
        self.incoming, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](float("inf"))
        outgoing, self.outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        lowlevel = server.lowlevel
        async with self.incoming, incoming, outgoing, self.outgoing, anyio.create_task_group() as tasks:
            tasks.start_soon(self.pass_on)
            self.ready.set_result(server)
            await lowlevel.run(incoming, outgoing, lowlevel.create_initialization_options())
            tasks.cancel_scope.cancel()

    async def pass_on(self) -> None:
        async for message in self.outgoing:
            # Through text, as every other door: what cannot be JSON must fail here too.
            self.deliver(json.loads(message.message.model_dump_json(by_alias=True, exclude_unset=True)))

    def send(self, frame: Frame) -> None:
        import mcp_types as types
        from mcp.shared.message import SessionMessage

        text = json.dumps(frame)
        parsed = SessionMessage(types.jsonrpc_message_adapter.validate_json(text, by_name=False))
        self.loop.call_soon_threadsafe(self.incoming.send_nowait, parsed)

    def abandon(self, request_id: str | int) -> Frame | None:
        return cancelled(request_id)

    def listen(self) -> None:
        """A stream carries everything."""

    def close(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.incoming.close)
            self.thread.join(START_S)


class MemoryServer:
    """A server built anew for every connection, all with the same settings; their audits add up."""

    def __init__(self, spec: "ServerSpec", settings: "ServerSettings") -> None:
        self.spec, self.settings = spec, settings
        self.audit = Recorded()
        self.peers: list[Peer] = []

    def build(self) -> "BulkheadServer":
        from ..app import assemble

        return assemble(self.spec, self.settings, transport="memory", audit=self.audit)  # type: ignore[arg-type]

    def connect(self, era: str) -> Peer:
        peer = Peer(MemoryCarrier(self.build), era)
        self.peers.append(peer)
        return peer

    def records(self) -> list[dict[str, Any]]:
        return list(self.audit.records)

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
