"""A real process at the ends of real pipes, while it misbehaves."""

import io
import json
import os
import signal
import sys

import pytest

from mcp_bulkhead.testing.processes import Process, alive
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, MODERN
from mcp_bulkhead.transport import stdio

from .conftest import Journals, Open

SOON_S, AT_ONCE_S = 2.0, 0.3
ENDINGS = ("end of input", "SIGTERM", "SIGINT")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc")


def end(process: Process, how: str) -> float:
    return process.end_input() if how == "end of input" else process.signal(getattr(signal, how))


@requirement("STDIO-5")
@pytest.mark.parametrize("era", ERAS)
def test_whoever_writes_to_standard_output_reaches_standard_error(open_fixture: Open, era: str):
    house = open_fixture("stdio")
    peer = house.connect(era)
    assert peer.call("fx_noise", {"text": "NOISE"})["content"][0]["text"] == "quiet again"
    process = house.server.processes[0]
    process.end_input()
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in process.said)
    assert b"NOISE" not in b"".join(process.said)
    assert process.stderr().count("NOISE") >= 3


@requirement("EXIT-4")
@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize(("tool", "line"), [("fx_slow", "started busy"), ("fx_stuck", "started busy")])
def test_a_call_in_flight_or_a_stuck_thread_holds_up_no_end(
    open_fixture: Open, journal: Journals, how: str, tool: str, line: str
):
    house = open_fixture("stdio")
    peer = house.connect(MODERN)
    peer.begin_call(tool, {"seconds": 60, "name": "busy"})
    journal(house).shows(line)
    process = house.server.processes[0]
    assert end(process, how) <= SOON_S
    assert process.popen.returncode == 0
    assert "Traceback" not in process.stderr()
    assert journal(house).lines()[-2:] == ["stopped busy", "closed"]
    ended = [record for record in process.records() if record.get("name") == tool]
    assert [record["status"] for record in ended] == ["cancelled"]


@requirement("EXIT-4")
@pytest.mark.parametrize("how", ENDINGS)
def test_a_client_that_never_reads_holds_up_no_end(open_fixture: Open, journal: Journals, how: str):
    house = open_fixture("stdio")
    process = house.server.spawn()
    for frame in (HELLO, *({**FLOOD, "id": number} for number in range(2, 12)), LAST):
        process.write(json.dumps(frame).encode() + b"\n")
    journal(house).shows("started last")  # by then more was answered than a pipe holds
    assert end(process, how) <= SOON_S
    assert process.popen.returncode == 0


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}
LAST = {
    "jsonrpc": "2.0",
    "id": 99,
    "method": "tools/call",
    "params": {"name": "fx_slow", "arguments": {"seconds": 60, "name": "last"}},
}
FLOOD = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "fx_flood", "arguments": {"lines": 10_000}}}


@requirement("EXIT-5")
@pytest.mark.parametrize("how", ENDINGS)
def test_no_child_outlives_the_server(open_fixture: Open, journal: Journals, how: str):
    house = open_fixture("stdio")
    house.connect(MODERN).begin_call("fx_child", {"seconds": 60, "name": "child"})
    journal(house).shows("started child")
    child = int(journal(house).lines()[-1].split()[-1])
    process = house.server.processes[0]
    assert alive(child)
    end(process, how)
    assert not alive(child)
    assert process.children() == []


@requirement("EXIT-4")
def test_a_second_signal_changes_nothing(open_fixture: Open, journal: Journals):
    house = open_fixture("stdio")
    house.connect(MODERN).begin_call("fx_stuck", {"seconds": 60, "name": "busy"})
    journal(house).shows("started busy")
    process = house.server.processes[0]
    process.popen.send_signal(signal.SIGINT)
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def test_what_was_answered_before_the_end_of_input_arrives(open_fixture: Open):
    house = open_fixture("stdio")
    peer = house.connect(MODERN)
    pending = [peer.begin_call("fx_add", {"first": number}) for number in range(3)]
    assert [each.result()["structuredContent"]["total"] for each in pending] == [0, 1, 2]
    house.server.processes[0].end_input()


# -- the reader by itself ---------------------------------------------------------------------------------------------


class Heard:
    """What a reader hands over, read from bytes in pieces of any size."""

    def __init__(self, pieces: list[bytes], most: int) -> None:
        self.messages: list[object] = []
        self.refusals: list[tuple[str, int]] = []
        read, write = os.pipe()
        try:
            wire = stdio.Wire.__new__(stdio.Wire)
            wire.incoming, wire.outgoing = read, -1
            reader = stdio.Reader(wire, most, self.messages.append, lambda why, code: self.refusals.append((why, code)))
            reader.start()
            for piece in pieces:
                os.write(write, piece)
        finally:
            os.close(write)
        reader.join(5)
        os.close(read)
        assert not reader.is_alive()


PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


@pytest.mark.parametrize("size", [1, 2, 7, 40, 1_000])
def test_lines_are_found_whatever_the_pieces(size: int):
    data = io.BytesIO(PING + b"\n\r\n  \n" + PING + b"\r\n" + PING + b"\n" + PING)
    heard = Heard(list(iter(lambda: data.read(size), b"")), 1_000)
    assert len([message for message in heard.messages if message is not None]) == 3, "a line without an end is none"
    assert heard.messages[-1] is None
    assert heard.refusals == []


@requirement("STDIO-2")
@pytest.mark.parametrize("size", [10, 64, 100_000])
def test_a_line_over_the_cap_is_refused_once_and_skipped(size: int):
    data = io.BytesIO(PING + b"\n" + b"x" * 5_000 + b"\n" + PING + b"\n")
    heard = Heard(list(iter(lambda: data.read(size), b"")), 100)
    assert len(heard.messages) == 3
    assert len(heard.refusals) == 1
    assert heard.refusals[0][1] == -32600


@requirement("STDIO-3")
def test_what_is_no_message_is_refused_with_the_right_code():
    heard = Heard([b'{\n[]\n{"jsonrpc":"2.0"}\n' + PING + b"\n"], 1_000)
    assert [code for _, code in heard.refusals] == [-32700, -32600, -32600]
    assert len(heard.messages) == 2
