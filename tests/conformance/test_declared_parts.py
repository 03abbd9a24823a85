"""What the fixture server declares beyond plain text: embedded resources, prompts of several parts, fixed resources."""

from collections.abc import Iterator
from importlib import import_module

import pytest

from mcp_bulkhead import Embedded, Link, Media
from mcp_bulkhead.results import Rendering, as_block
from mcp_bulkhead.testing.doors import House, opened
from mcp_bulkhead.testing.wire import ERAS

from .suite import HERE


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        spec = import_module("everything").SPEC
        with opened(spec, "memory", tmp_path_factory.mktemp("declared")) as house:
            yield house


def rendering(secret: str = "hunter2") -> Rendering:
    return Rendering(
        max_chars=100, hard_chars=100, sign=lambda _: "", redact=lambda text: text.replace(secret, "[withheld]")
    )


@pytest.mark.parametrize("era", ERAS)
def test_a_resource_of_one_address_is_listed_and_is_no_template(house: House, era: str):
    peer = house.connect(era)
    listed = {each["uri"]: each["mimeType"] for each in peer.request("resources/list")["resources"]}
    templates = [each["uriTemplate"] for each in peer.request("resources/templates/list")["resourceTemplates"]]
    assert listed == {"test://static-text": "text/plain", "test://static-binary": "image/png"}
    assert templates == ["test://template/{id}/data"]


@pytest.mark.parametrize("era", ERAS)
def test_each_part_of_a_prompt_is_a_message_of_its_own(house: House, era: str):
    got = house.connect(era).request("prompts/get", {"name": "test_prompt_with_image"})
    assert [message["content"]["type"] for message in got["messages"]] == ["image", "text"]


@pytest.mark.parametrize("era", ERAS)
def test_only_the_list_of_tools_is_said_to_change(house: House, era: str):
    offered = house.connect(era).welcome["capabilities"]
    assert offered["tools"]["listChanged"]
    assert not offered["prompts"].get("listChanged")
    assert not offered["resources"].get("listChanged")
    assert not offered["resources"].get("subscribe")


@pytest.mark.parametrize(
    "part",
    [
        "the key is hunter2\u202e",
        Embedded("file:///notes", "the key is hunter2\u202e", "text/plain"),
    ],
)
def test_text_in_any_part_is_tidied_and_redacted(part: str | Embedded):
    block = as_block(part, rendering()).model_dump_json()
    assert "[withheld]" in block
    assert "hunter2" not in block
    assert "\u202e" not in block


@pytest.mark.parametrize("part", ["word\n" * 100, Embedded("file:///notes", "word\n" * 100, "text/plain")])
def test_text_in_any_part_is_cut_at_a_line(part: str | Embedded):
    block = as_block(part, rendering()).model_dump()
    text = block["text"] if "text" in block else block["resource"]["text"]
    assert 90 < len(text) <= 100
    assert text.endswith("word")


def test_bytes_in_a_part_go_out_as_they_are():
    assert as_block(Media(b"\x00\xff", "image/png"), rendering()).model_dump()["data"] == "AP8="
    assert as_block(Media(b"\x00\xff", "audio/wav"), rendering()).model_dump()["type"] == "audio"
    embedded = as_block(Embedded("file:///a", b"\x00\xff", "image/png"), rendering()).model_dump()
    assert embedded["resource"]["blob"] == "AP8="


def test_an_address_cannot_hide_what_it_says():
    for part in (Link("file:///a\u202eb", "a\u200bb"), Embedded("file:///a\u202eb", "text", "text/plain")):
        assert not {"\u202e", "\u200b"} & set(as_block(part, rendering()).model_dump_json())
