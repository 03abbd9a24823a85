"""Frames whose id is none, and a client that asks without ever reading."""

import json
import os
import sys
import threading

import pytest
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from mcp_bulkhead.transport import stdio
from mcp_bulkhead.transport.stdio import PAUSE_AT, Reader, Wire, Writer, id_is_broken, left, line_of, parsed

from .conftest import Open

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and poll")

BROKEN = ("null", "1.5", "1.0", "true", "{}", "[1]")
CALL = '{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"fx_add","arguments":{"first":1}}}'
HELLO = (
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    '"clientInfo":{"name":"x","version":"1"}}}'
)


def unheard(_: object) -> None:
    """What is said is kept by the process."""


def never(why: str, code: int) -> None:
    raise AssertionError((why, code))


def test_a_call_whose_id_is_none_is_answered_and_recorded(open_fixture: Open):
    house = open_fixture("stdio")
    process = house.server.spawn()
    process.read_stdout(unheard, unheard)
    for frame in (HELLO, *(CALL % broken for broken in BROKEN), CALL % '"last"'):
        process.write(frame.encode() + b"\n")
    process.end_input()
    said = [json.loads(line) for line in process.said]
    refused = [frame["error"]["code"] for frame in said if frame["id"] is None]
    assert refused == [-32600] * len(BROKEN)
    rules = [record["rule"] for record in process.records() if record.get("decision") == "refuse"]
    assert rules == ["the id is neither a string nor an integer"] * len(BROKEN)


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("more", ["", ',"result":{}', ',"error":{"code":1,"message":"x"}'])
def test_a_method_with_a_broken_id_never_passes(broken: str, more: str):
    line = (CALL % broken)[:-1] + more + "}"
    assert id_is_broken(parsed(line.encode()), line.encode())


@pytest.mark.parametrize(
    "line",
    [
        CALL % "1",
        CALL % '"one"',
        CALL % "123456789012345678901234567890",
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        '{"jsonrpc":"2.0","id":1,"result":{}}',
        '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
    ],
)
def test_what_has_a_right_id_or_needs_none_passes(line: str):
    assert not id_is_broken(parsed(line.encode()), line.encode())


# -- a client that does not read --------------------------------------------------------------------------------------


def wire_of(incoming: int, outgoing: int) -> Wire:
    wire = Wire.__new__(Wire)
    wire.incoming, wire.outgoing = incoming, outgoing
    return wire


def test_a_request_is_taken_in_only_when_there_is_room_for_its_answer():
    read, write = os.pipe()
    room, asked, taken = threading.Event(), threading.Event(), threading.Event()

    def has_room(timeout: float) -> bool:
        asked.set()
        return room.wait(timeout)

    reader = Reader(wire_of(read, -1), 1_000, lambda message: message and taken.set(), never, has_room)
    reader.start()
    os.write(write, (CALL % "1").encode() + b"\n")
    assert asked.wait(5)
    assert not taken.is_set()
    room.set()
    assert taken.wait(5)
    os.close(write)
    reader.join(5)
    os.close(read)
    assert not reader.is_alive()


def test_a_client_that_left_is_not_waited_for():
    read, write = os.pipe()
    heard: list[object] = []
    reader = Reader(wire_of(read, -1), 1_000, heard.append, never, lambda _: False)
    os.write(write, (CALL % "1").encode() + b"\n")
    assert not left(read)
    os.close(write)
    assert left(read)
    reader.start()
    reader.join(5)
    os.close(read)
    assert heard[-1] is None


def test_the_writer_has_room_again_when_the_client_reads_on():
    read, write = os.pipe()
    writer = Writer(wire_of(-1, write))
    writer.start()
    writer.put(b"x" * PAUSE_AT)
    assert not writer.has_room(0)
    taken = 0
    while taken < PAUSE_AT:
        taken += len(os.read(read, 1_000_000))
    assert writer.has_room(5)
    writer.finish(5)
    assert writer.waiting == 0
    os.close(read)
    os.close(write)


def test_a_writer_without_a_reader_keeps_nothing():
    read, write = os.pipe()
    writer = Writer(wire_of(-1, write))
    os.close(read)
    writer.start()
    writer.put(b"x\n")
    assert writer.broken.wait(5)
    for _ in range(10):
        writer.put(b"x" * 10_000_000)
    assert writer.has_room(0)
    assert writer.lines.qsize() == 0
    os.close(write)


def test_when_too_much_is_unread_an_answer_becomes_a_short_error_and_a_notification_nothing():
    answer = SessionMessage(JSONRPCResponse(jsonrpc="2.0", id="seven", result={"text": "x" * 100_000}))
    line = line_of(answer, full=True)
    assert line is not None
    assert len(line) < 300
    told = json.loads(line)
    assert (told["id"], told["error"]["message"]) == ("seven", stdio.UNREAD)
    assert (
        line_of(SessionMessage(JSONRPCNotification(jsonrpc="2.0", method="notifications/message")), full=True) is None
    )
    assert line_of(SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=1, method="ping")), full=False) is not None
    assert len(line_of(answer, full=False) or b"") > 100_000
