"""What an attacker found once, so that nobody finds it again."""

import json
import time
from pathlib import Path

import pytest

from mcp_bulkhead.pipeline.adapter import MAX_ARGUMENTS, TRACE, completed_place, size_of, too_many
from mcp_bulkhead.pipeline.limits import FLOOD
from mcp_bulkhead.testing.wire import MODERN, Refusal

from .conftest import Open


def test_a_frame_with_a_hundred_thousand_arguments_is_refused_at_once(open_fixture: Open):
    peer = open_fixture().connect(MODERN)
    begun = time.perf_counter()
    answer = peer.call("fx_echo", {f"k{number}": 1 for number in range(100_000)})
    assert json.loads(answer["content"][0]["text"])["error"]["code"] == "invalid_arguments"
    assert time.perf_counter() - begun < 2


def test_a_list_is_measured_before_its_items_are_looked_at():
    schema = {"properties": {"paths": {"type": "array", "maxItems": 20}}}
    assert too_many({"paths": ["x"] * 20}, schema) is None
    assert too_many({"paths": ["x"] * 21}, schema) is not None
    assert too_many({f"k{number}": 1 for number in range(MAX_ARGUMENTS + 1)}, schema) is not None


def test_media_count_in_the_size_of_an_answer():
    from mcp_types import CallToolResult, ImageContent, TextContent

    text, image = (
        TextContent(type="text", text="four"),
        ImageContent(type="image", data="x" * 1000, mime_type="image/png"),
    )
    assert size_of(CallToolResult(content=[text])) == 4
    assert size_of(CallToolResult(content=[text, image])) == 1004


@pytest.mark.parametrize("sent", ["", "00-zz", "x" * 5000, "00-" + "a" * 32 + "-" + "b" * 16])
def test_only_a_real_trace_id_is_recorded(sent: str):
    assert TRACE.fullmatch(sent) is None
    assert TRACE.fullmatch(f"00-{'a' * 32}-{'b' * 16}-01") is not None


def test_a_completion_is_recorded_with_what_was_typed():
    assert completed_place({"argument": {"name": "path", "value": "secret/"}}) == ("secret/",)
    assert completed_place({"argument": 5}) == ()


def test_a_text_of_control_characters_does_not_hold_up_the_others(open_fixture: Open):
    house = open_fixture()
    notes = Path(house.world.arguments[0]) / "notes"
    (notes / "control.txt").write_text("\x01" * 3_000_000)
    peer = house.connect(MODERN)
    reading = peer.begin("resources/read", {"uri": "note:///control.txt"})
    begun = time.perf_counter()
    peer.call("fx_add", {"first": 1})
    assert time.perf_counter() - begun < 1
    with pytest.raises(Refusal) as refused:
        reading.result()
    assert refused.value.data["error"]["code"] == "too_large"


def test_the_third_identical_reading_of_a_resource_is_told_so(open_fixture: Open):
    peer = open_fixture("memory", "--repeat-limit", "3").connect(MODERN)
    for _ in range(2):
        peer.request("resources/read", {"uri": "note:///odd.txt"})
    with pytest.raises(Refusal) as refused:
        peer.request("resources/read", {"uri": "note:///odd.txt"})
    assert refused.value.data["error"]["code"] == "unchanged_repeat"


def test_a_flood_of_requests_is_stopped_and_recorded_by_its_count(open_fixture: Open):
    house = open_fixture("memory", "--rate-limit-per-minute", "4")
    peer = house.connect(MODERN)
    refused = 0
    for _ in range(4 * FLOOD + 50):
        try:
            peer.request("prompts/get", {"name": "nobody"})
        except Refusal as refusal:
            refused += "Far too many" in str(refusal)
    assert refused >= 50


def test_an_unknown_method_is_not_repeated(open_fixture: Open):
    peer = open_fixture().connect(MODERN)
    with pytest.raises(Refusal) as refused:
        peer.request("no/such\u202emethod" + "x" * 1000)
    assert refused.value.code == -32601
    assert "such" not in str(refused.value)
