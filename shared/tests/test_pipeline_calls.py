"""One call and its answer: pages, ids, progress, and the SDK's own client."""

import queue
import threading
from typing import Any

import anyio
import pytest

from mcp_bulkhead.app import assemble
from mcp_bulkhead.pipeline.call import Call, Caller
from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.doors import DOORS
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, LEGACY, MODERN

from .conftest import Open


@requirement("RES-7")
@pytest.mark.parametrize("era", ERAS)
def test_following_the_cursor_gives_every_row_exactly_once(open_fixture: Open, era: str):
    peer = open_fixture().connect(era)
    arguments: dict[str, Any] = {"count": 2_500, "limit": 5_000}
    numbers: list[int] = []
    pages = 0
    while True:
        page = peer.call("fx_rows", arguments)["structuredContent"]
        numbers += [row["number"] for row in page["rows"]]
        pages += 1
        if "next" not in page:
            break
        arguments["cursor"] = page["next"]
    assert numbers == list(range(2_500))
    assert pages > 3


@requirement("RES-7")
def test_a_page_is_as_large_as_its_budget_lets_it(open_fixture: Open):
    peer = open_fixture().connect(MODERN)
    sizes: dict[int, int] = {}
    for tokens in (100, 1_000, 25_000):
        text = peer.call("fx_rows", {"count": 20_000, "limit": 5_000, "max_tokens": tokens})["content"][0]["text"]
        assert len(text) <= tokens * 4
        sizes[tokens] = len(text)
    assert sizes[100] < sizes[1_000] < sizes[25_000]
    assert sizes[25_000] > 90_000


@requirement("RES-9")
def test_a_cursor_of_another_call_is_refused(open_fixture: Open):
    house = open_fixture()
    peer = house.connect(MODERN)
    cursor = peer.call("fx_rows", {"count": 100})["structuredContent"]["next"]
    assert not peer.call("fx_rows", {"count": 100, "cursor": cursor}).get("isError")
    assert not peer.call("fx_rows", {"count": 100, "cursor": cursor, "limit": 3}).get("isError")
    assert list(refusal_problems(peer.call("fx_rows", {"count": 101, "cursor": cursor}), "bad_cursor", cursor)) == []
    forged = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    assert list(refusal_problems(peer.call("fx_rows", {"count": 100, "cursor": forged}), "bad_cursor", forged)) == []


@requirement("RES-9")
def test_a_cursor_outlives_the_process_and_changes_era(open_fixture: Open):
    house = open_fixture("stdio")
    cursor = house.connect(MODERN).call("fx_rows", {"count": 100})["structuredContent"]["next"]
    page = house.connect(LEGACY).call("fx_rows", {"count": 100, "cursor": cursor})["structuredContent"]
    assert page["rows"][0]["number"] == 50


@requirement("RES-7")
def test_a_text_over_the_hard_cap_is_cut_at_a_line_and_says_so(open_fixture: Open):
    text = open_fixture().connect(MODERN).call("fx_flood", {"lines": 20_000})["content"][0]["text"]
    assert len(text) <= 100_000 + 200
    *lines, last = text.splitlines()
    assert last.startswith("-- cut here")
    assert lines == [f"line {number}" for number in range(len(lines))]


@requirement("PROTO-9")
@pytest.mark.parametrize("door", ["memory", "stdio"])
def test_two_requests_with_one_id_get_each_their_answer_and_their_record(open_fixture: Open, door: str):
    house = open_fixture(door)
    peer = house.connect(MODERN)
    for tool, arguments in (("fx_slow", {"seconds": 0.3}), ("fx_echo", {"text": "quick"})):
        peer.carrier.send(peer.framed("twice", "tools/call", {"name": tool, "arguments": arguments}))
    frames = [peer.heard.get(timeout=10) for _ in range(2)]
    assert [frame["id"] for frame in frames] == ["twice", "twice"]
    assert [frame["result"]["content"][0]["text"] for frame in frames] == ["quick", "waited 0.3 seconds"]
    if door == "memory":
        names = [record["name"] for record in house.server.records() if record["request_id"] == "twice"]
        assert sorted(names) == ["fx_echo", "fx_slow"]


@requirement("PROTO-10")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdks_in_process_client_passes_the_same_pipeline(open_fixture: Open, mode: str):
    from mcp.client import Client
    from mcp.shared.exceptions import MCPError

    house = open_fixture("memory", "--rate-limit-per-minute", "2")

    async def visit():
        server = assemble(house.spec, house.server.settings, audit=house.server.audit)
        async with Client(server, mode=mode, cache=None) as client:
            answers = [await client.call_tool("fx_add", {"first": 1}) for _ in range(3)]
            with pytest.raises(MCPError) as unknown:
                await client.call_tool("no_such_tool", {})
            read = await client.read_resource("note:///tides/spring.txt")
            return answers, unknown.value.error.code, read

    answers, code, read = anyio.run(visit)
    assert [answer.is_error for answer in answers] == [False, False, True]
    assert '"rate_limited"' in str(answers[2].content)
    assert code == -32602
    assert "new moon" in str(read.contents)
    assert [record["code"] for record in house.server.records() if record["name"] == "fx_add"][-1] == "rate_limited"


@requirement("PROTO-11")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("door", DOORS)
def test_progress_is_monotonic_throttled_and_only_for_who_asked(open_fixture: Open, door: str, era: str):
    peer = open_fixture(door).connect(era)
    peer.begin_call("fx_steps", {"count": 2_000}, progressToken="p").result()
    heard: list[dict[str, Any]] = []
    while True:
        try:
            heard.append(peer.heard.get_nowait()["params"])
        except queue.Empty:
            break
    values = [params["progress"] for params in heard]
    assert values
    assert values == sorted(set(values))
    assert len(values) < 100
    assert {params["progressToken"] for params in heard} == {"p"}
    peer.call("fx_steps", {"count": 5})
    assert peer.heard.empty()


@requirement("PROTO-11")
def test_progress_never_goes_back():
    told: list[float] = []

    async def report(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async def work() -> None:
        call = Call("tools/call", "x", {}, Caller("me", "tenant"), MODERN, "memory", report=report)
        for done in (5, 3, 5, 6):
            call.last_progress = (call.last_progress[0], 0.0)  # long ago
            await call.progress(done)

    anyio.run(work)
    assert told == [5, 6]


def test_many_clients_at_once_share_nothing_but_the_server(open_fixture: Open):
    house = open_fixture("http", "--max-concurrency-per-caller", "100", "--max-concurrency", "100")
    wrong: list[object] = []

    def one(number: int) -> None:
        peer = house.connect(ERAS[number % 2])
        for turn in range(10):
            total = peer.call("fx_add", {"first": number, "second": turn})["structuredContent"]["total"]
            if total != number + turn:
                wrong.append((number, turn, total))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
