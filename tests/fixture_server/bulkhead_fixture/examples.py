"""A folder with two notes, and what each ordinary tool does there."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mcp_bulkhead import World, good, good_prompt, good_resource, hostile

HOME = Path(__file__).parent.parent


@contextmanager
def world(directory: Path) -> Generator[World]:
    folder = directory / "playground"
    (folder / "notes" / "tides").mkdir(parents=True)
    (folder / "notes" / "tides" / "spring.txt").write_text("High water at the new moon.\n")
    (folder / "notes" / "odd.txt").write_bytes(b"not utf-8: \xff\n")
    (folder / "outside.txt").write_text("nobody may read this\n")
    yield World(arguments=(str(folder),), environment={"PYTHONPATH": str(HOME)}, facts={"folder": str(folder)})


EXAMPLES = (
    good("fx_echo", {"text": "hello"}, shows=lambda text: text == "hello"),
    good("fx_echo", {}, shows=lambda text: text == "nothing"),
    good("fx_add", {"first": 2, "second": 3, "unit": "metre"}, shows=lambda sum_: sum_["total"] == 5),
    good("fx_add", {"first": 2, "tags": ["a", "b"]}, shows=lambda sum_: "unit" not in sum_),
    good("fx_rows", {"count": 3}, shows=lambda page: len(page["rows"]) == 3 and "next" not in page),
    good("fx_rows", {"count": 20_000, "limit": 5_000}, shows=lambda page: page["next"], why="Cut, with the way on."),
    good("fx_read", {"path": "tides/spring.txt"}, shows=lambda text: "new moon" in text),
    good("fx_read", {"path": "odd.txt"}, shows=lambda text: r"\xff" in text),
    good("fx_flood", {"lines": 500}, shows=lambda text: "line 499" in text),
    good("fx_hidden", {}, shows=lambda text: "\u202e" not in text),
    good("fx_noise", {}, shows=lambda text: text == "quiet again"),
    good("fx_steps", {}, shows=lambda text: text == "done"),
    good("fx_crash", {"text": "calm"}),
    good("fx_quit", {"again": False}),
    good("fx_slow", {"seconds": 0}),
    good("fx_late", {"seconds": 0}),
    good("fx_stuck", {"seconds": 0.01}),
    good("fx_child", {"seconds": 0}),
    good("fx_keep", {"path": "kept.txt", "text": "kept"}, shows=lambda done: done["bytes"] == 4),
    good_resource("note:///tides/spring.txt", shows=lambda text: "new moon" in text),
    good_prompt("look_around"),
    good_prompt("look_around", {"place": "harbours"}),
    hostile("fx_echo", {"text": "x" * 2_001}, code="invalid_arguments"),
    hostile("fx_add", {"first": "twenty-seven"}, code="invalid_arguments"),
    hostile("fx_add", {"first": 1, "unit": "furlong"}, code="invalid_arguments"),
    hostile("fx_rows", {"cursor": "AAAABBBB"}, code="bad_cursor"),
    hostile("fx_read", {"path": "../outside.txt"}, code="outside_root", resource="note:///../outside.txt"),
    hostile("fx_read", {"path": "no/such/note.txt"}, code="not_found", resource="note:///no/such/note.txt"),
    hostile("fx_late", {}, code="timeout"),
    hostile("fx_crash", {"text": "a secret inside"}, code="internal_error"),
    hostile("fx_quit", {}, code="internal_error"),
    hostile("fx_slow", {"seconds": 61}, code="invalid_arguments"),
    hostile("fx_stuck", {"seconds": -1}, code="invalid_arguments"),
    hostile("fx_child", {}, code="invalid_arguments"),
    hostile("fx_noise", {"volume": "loud"}, code="invalid_arguments"),
    hostile("fx_flood", {"lines": 20_001}, code="invalid_arguments"),
    hostile("fx_hidden", {"anything": "at all"}, code="invalid_arguments"),
    hostile("fx_steps", {"count": -3}, code="invalid_arguments"),
    hostile("fx_keep", {"path": "../outside.txt", "text": "mine now"}, code="outside_root"),
)
