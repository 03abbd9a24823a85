"""The file of the kill switch as operators write it in a hurry, in whatever editor they have."""

import os
from pathlib import Path

import pytest

from mcp_bulkhead.pipeline.switch import MAX_BYTES, KillSwitch

NAMES = ("fx_read", "fx_add", "fx_slow")


def off(path: Path, content: bytes, known: tuple[str, ...] | None = NAMES) -> list[str | None]:
    path.write_bytes(content)
    switch = KillSwitch(path, known)
    switch.look()
    return [name for name in (*NAMES, None) if switch.is_off(name)]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbffx_add\r\n",
        "fx_add\r\n".encode("utf-16"),
        "fx_add\n".encode("utf-16-le"),
        "# f\u00fcr heute\nfx_add\n".encode("utf-16-be"),
        b"FX_Add",
        b'"fx_add"\n',
        b"'fx_add', # today\n",
        "\u201cfx_add\u201d\n".encode(),
        b"\n\n  fx_add\t\n",
        b"fx_add\rfx_add",
    ],
)
@pytest.mark.parametrize("known", [NAMES, None])
def test_a_name_is_understood_in_every_spelling_editors_leave(
    tmp_path: Path, content: bytes, known: tuple[str, ...] | None
):
    assert off(tmp_path / "kill", content, known) == ["fx_add"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\xfa",
        b"fx_\xe4dd\n",
        "fx_add\n".encode("utf-32"),
        b"fx_add\0\0\0\0fx_read",
        b"",
        b"# nothing\n",
        b'"ALL"\n',
        b"fx_add\n" + b"#" * MAX_BYTES,
    ],
)
@pytest.mark.parametrize("known", [NAMES, None])
def test_what_cannot_be_understood_switches_everything_off(
    tmp_path: Path, content: bytes, known: tuple[str, ...] | None
):
    assert off(tmp_path / "kill", content, known) == [*NAMES, None]


@pytest.mark.parametrize("content", [b"fx_ad\n", b"fx_add\nfx_raed\n", b"fx_add fx_read\n", "fx\u200b_add\n".encode()])
def test_a_name_that_this_server_does_not_have_switches_everything_off(tmp_path: Path, content: bytes):
    assert off(tmp_path / "kill", content) == [*NAMES, None]


def test_a_switch_that_learns_the_names_later_reads_its_file_again(tmp_path: Path):
    (tmp_path / "kill").write_text("fx_raed\n")
    switch = KillSwitch(tmp_path / "kill")
    assert switch.look()
    assert not switch.is_off("fx_read")
    switch.knows(NAMES)
    assert switch.look()
    assert switch.is_off("fx_read")


def test_a_pipe_in_place_of_the_file_switches_everything_off_and_nobody_waits_for_it(tmp_path: Path):
    os.mkfifo(tmp_path / "kill")
    switch = KillSwitch(tmp_path / "kill", NAMES)
    assert switch.look()
    assert switch.is_off("fx_add")


def test_a_file_that_becomes_readable_again_is_read_again(tmp_path: Path):
    path = tmp_path / "kill"
    path.write_text("fx_add\n")
    switch = KillSwitch(path, NAMES)
    switch.look()
    path.rename(tmp_path / "aside")
    path.mkdir()
    switch.look()
    assert switch.is_off("fx_read")
    path.rmdir()
    (tmp_path / "aside").rename(path)
    switch.look()
    assert not switch.is_off("fx_read")
    assert switch.is_off("fx_add")
