"""A secret in a file follows the file, and shows itself to nobody."""

import os
import threading
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr

from mcp_bulkhead.settings import FileSecret, Parsed, ServerSettings, load, parse, secret_value
from mcp_bulkhead.settings import secret as secret_module


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Settings(ServerSettings):
    api_key: Annotated[SecretStr | None, Field(description="The key.")] = None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("first\n")
    return path


def replace(path: Path, text: str) -> None:
    """As an orchestrator does: a new file under the old name."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def parsed(path: Path) -> Parsed[Settings]:
    environ = {"HOME": "/home/nobody", "MCP_BULKHEAD_TEST_API_KEY_FILE": str(path)}
    return parse(Settings, server="test", version="1", description="", argv=[], environ=environ)


def test_a_replaced_file_gives_the_new_secret_within_a_second(path: Path):
    clock = Clock()
    secret = FileSecret(path, clock=clock)
    replace(path, "second\n")
    clock.now = 0.99
    assert secret_value(secret) == "first"
    clock.now = 1.0
    assert secret_value(secret) == "second"


def test_a_file_rewritten_in_place_with_the_same_size_gives_the_new_secret(path: Path):
    clock = Clock()
    secret = FileSecret(path, clock=clock)
    path.write_text("other\n")
    os.utime(path, ns=(1, 1))
    clock.now = 5.0
    assert secret_value(secret) == "other"


def test_the_file_is_looked_at_once_a_second_and_read_only_when_it_changed(path: Path, monkeypatch: pytest.MonkeyPatch):
    clock, looks, reads = Clock(), list[Path](), list[Path]()
    secret = FileSecret(path, clock=clock)
    stat = Path.stat

    def counted_stat(self: Path) -> os.stat_result:
        looks.append(self)
        return stat(self)

    monkeypatch.setattr(Path, "stat", counted_stat)
    monkeypatch.setattr(Path, "open", reads.append)
    for tick in range(100):
        clock.now = tick / 10
        assert secret_value(secret) == "first"
    assert (len(looks), len(reads)) == (9, 0)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_is_unusable_for_a_moment_keeps_the_last_secret_and_then_the_next_one_comes(
    content: bytes | None, path: Path
):
    clock = Clock()
    secret = FileSecret(path, clock=clock)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    clock.now = 1.0
    assert secret_value(secret) == "first"
    replace(path, "second")
    clock.now = 2.0
    assert secret_value(secret) == "second"


def test_a_symbolic_link_that_is_turned_gives_the_new_secret(tmp_path: Path, path: Path):
    link, clock = tmp_path / "link", Clock()
    link.symlink_to(path)
    secret = FileSecret(link, clock=clock)
    (tmp_path / "next").write_text("second")
    (tmp_path / "turned").symlink_to(tmp_path / "next")
    (tmp_path / "turned").replace(link)
    clock.now = 1.0
    assert secret_value(secret) == "second"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    outcome: list[str] = []

    def open_it() -> None:
        try:
            FileSecret(tmp_path / "pipe")
        except ValueError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=open_it, daemon=True)
    thread.start()
    thread.join(5)
    assert outcome == ["is not a regular file"]


def test_the_secret_of_validated_settings_still_follows_its_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(secret_module, "CHECK_EVERY_S", 0.0)
    settings = parsed(path).settings
    assert settings is not None
    assert secret_value(settings.api_key) == "first"
    replace(path, "second")
    assert secret_value(settings.api_key) == "second"
    assert settings.api_key is not None
    assert len(settings.api_key) == len("second")


def test_a_secret_s_own_newlines_and_byte_order_mark_are_not_part_of_it(path: Path):
    path.write_bytes(b"\xef\xbb\xbf two\nlines \r\n\n")
    assert FileSecret(path).get_secret_value() == " two\nlines "


def test_no_way_of_printing_settings_shows_a_secret(path: Path):
    path.write_text("hunter22")
    environ = {"HOME": "/h", "MCP_BULKHEAD_TEST_CURSOR_KEY": "hunter22" * 4}
    argv = ["--api-key-file", str(path)]
    result = parse(Settings, server="test", version="1", description="", argv=argv, environ=environ)
    settings = result.settings
    assert settings is not None
    shown = [repr(result), str(settings), repr(settings), str(settings.model_dump()), settings.model_dump_json()]
    shown += [f"{settings.api_key}", repr(settings.api_key), str(result.given)]
    assert [text for text in shown if "hunter22" in text] == []
    assert secret_value(settings.api_key) == "hunter22"


def test_a_secret_that_is_not_there_has_no_value():
    assert secret_value(load(Settings, server="test").api_key) is None
    assert secret_value(load(Settings, server="test", api_key="direct").api_key) == "direct"
