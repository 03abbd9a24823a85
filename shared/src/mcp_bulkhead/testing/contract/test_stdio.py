"""The pipes: nothing but JSON-RPC on one of them, and a server that survives whatever comes in on the other."""

import json
import time
from typing import Any

import pytest

from mcp_bulkhead import ServerSpec
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, MODERN, PATIENCE_S, Peer

from .conftest import EVERYTHING, Fresh, Visit, Visits

FIRST_ANSWER_S = 1.0
HARD_LIMIT_S = 3.0
"""A loaded machine may take longer than a second; a client that probes does not wait longer than this."""

PARSE_ERROR, INVALID_REQUEST = -32700, -32600


@requirement("STDIO-1")
def test_every_line_on_standard_output_is_json_rpc(spec: ServerSpec, visits: Visits) -> None:
    for era in ERAS:
        visit = visits.to(spec, "stdio", era)
        for name, arguments in visit.good_calls():
            visit.call(name, arguments)
        lines = visit.house.server.processes[0].said
        assert len(lines) > len(visit.tools)
        assert [line for line in lines if not is_message(line)] == []


def is_message(line: bytes) -> bool:
    try:
        message = json.loads(line)
    except ValueError:
        return False
    return (
        line.endswith(b"\n")
        and message.get("jsonrpc") == "2.0"
        and bool(message.keys() & {"result", "error", "method"})
    )


def still_works(visit: Visit) -> bool:
    name, arguments = visit.good_calls(reading=True)[0]
    return not visit.call(name, arguments).get("isError")


@requirement("STDIO-2")
def test_a_line_over_the_cap_is_refused_and_the_connection_goes_on(fresh: Fresh) -> None:
    visit = fresh("stdio", *EVERYTHING, "--max-request-bytes", "20000")
    process = visit.house.server.processes[0]
    process.write(json.dumps({"jsonrpc": "2.0", "id": 99, "method": "tools/list", "x": "y" * 200_000}).encode() + b"\n")
    assert unasked_error(visit.peer)["code"] == INVALID_REQUEST
    assert still_works(visit)
    process.end_input()
    assert [record["decision"] for record in process.records() if "larger" in str(record.get("rule"))] == ["refuse"]


@requirement("STDIO-3")
@pytest.mark.parametrize(
    "line",
    [b"{", b"not json", b"[]", b'"text"', b'{"jsonrpc":"2.0"}', b'{"id":1}', b"\xff\xfe\x00", b"[" * 100_000],
    ids=["half", "words", "batch", "text", "empty", "headless", "bytes", "deep"],
)
def test_malformed_json_is_answered_and_the_connection_goes_on(spec: ServerSpec, visits: Visits, line: bytes) -> None:
    visit = visits.to(spec, "stdio", MODERN)
    visit.house.server.processes[0].write(line + b"\n")
    assert unasked_error(visit.peer)["code"] in (PARSE_ERROR, INVALID_REQUEST)
    assert still_works(visit)


def unasked_error(peer: Peer) -> dict[str, Any]:
    """An error for a frame that had no id to answer to."""
    frame = peer.heard.get(timeout=PATIENCE_S)
    assert frame["id"] is None
    return frame["error"]


@requirement("STDIO-4")
@pytest.mark.parametrize("era", ERAS)
def test_the_first_line_is_answered_within_a_second_of_the_start(visits: Visits, spec: ServerSpec, era: str) -> None:
    house = visits.to(spec, "stdio", era).house
    taken: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        house.server.connect(era).greet()
        taken.append(time.perf_counter() - begun)
        house.server.processes[-1].end_input()
        if taken[-1] <= FIRST_ANSWER_S:
            break
    assert min(taken) <= HARD_LIMIT_S
