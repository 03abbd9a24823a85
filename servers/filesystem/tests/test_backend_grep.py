"""Searching: what is found, in whatever encoding; pages; patterns that would run for ever; time and cancellation."""

import asyncio
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_bulkhead.errors import Failure, Invalid, TimedOut
from mcp_bulkhead.guards.paths import RootFS, Roots
from mcp_bulkhead_filesystem.backend import Files, Grepped, TextPiece, Want, engines, workers
from mcp_bulkhead_filesystem.backend.engines import engine_for
from mcp_bulkhead_filesystem.backend.killable import KillableRegex
from mcp_bulkhead_filesystem.backend.workers import Job, Stopped

ROOM = 100_000


@contextmanager
def opened(*folders: Path, deadline_s: float = 20.0) -> Generator[Files]:
    roots = Roots([RootFS(str(folder)) for folder in folders])
    files = Files(roots, threads=2, deadline_s=deadline_s)
    try:
        yield files
    finally:
        files.close()
        roots.close()


def asked(files: Files, pattern: str, **more: Any) -> Any:
    options: dict[str, Any] = {
        "path": None,
        "glob": None,
        "literal": False,
        "ignore_case": False,
        "context": 0,
        "mode": "lines",
        "ignored": False,
        "limit": 100_000,
        "after": None,
        "budget": ROOM,
    }
    return files.grep(pattern, **(options | more))


def grep(files: Files, pattern: str, **more: Any) -> Grepped:
    return asyncio.run(asked(files, pattern, **more))


@pytest.fixture(params=["re2", "process"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to run a regular expression: google-re2, and where it is not installed."""
    if request.param == "process":
        monkeypatch.setattr(engines, "import_module", absent)
    return request.param


def absent(name: str) -> Any:
    raise ImportError(name)


def job(seconds: float = 60) -> Job:
    return Job(time.monotonic() + seconds)


# --- what is found


def test_hits_are_path_line_text(tmp_path: Path, engine: str):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("def one():\n    return 1\n\ndef two(): pass")
    (tmp_path / "b.txt").write_text("nothing\n")
    with opened(tmp_path) as files:
        assert grep(files, r"^def \w+").text == "src/a.py:1: def one():\nsrc/a.py:4: def two(): pass\n"
        assert grep(files, r"^def \w+", path="src").lines == ["src/a.py:1: def one():", "src/a.py:4: def two(): pass"]
        assert grep(files, r"two\(\)", path="src/a.py").lines == ["src/a.py:4: def two(): pass"]
        assert grep(files, r"\bpass$", glob="*.txt").text == "-- no match in 1 files\n"


@pytest.mark.parametrize(
    ("pattern", "options", "lines"),
    [
        ("a.c", {}, [1, 2]),
        ("a.c", {"literal": True}, [2]),
        ("ABC", {}, []),
        ("ABC", {"ignore_case": True}, [1]),
        ("^É", {"ignore_case": True}, [3]),
        ("É", {"ignore_case": True}, [3]),
        ("É", {"ignore_case": True, "literal": True}, [3]),
        ("é.é$", {}, [3]),
        ("^$", {}, [4]),
        (r"\s$", {}, [5]),
        ("[^x]+", {}, [1, 2, 3, 5]),
        (r"x?$", {}, [1, 2, 3, 4, 5]),
        (r"abc\s+a", {}, []),
    ],
)
def test_patterns_see_one_line_at_a_time(
    tmp_path: Path, engine: str, pattern: str, options: dict[str, Any], lines: list[int]
):
    (tmp_path / "f").write_text("abc\na.c\nété\n\nend \n")
    with opened(tmp_path) as files:
        assert [hit.line for hit in grep(files, pattern, **options).hits] == lines


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
def test_text_is_found_in_every_encoding_and_numbered_as_read_numbers_it(tmp_path: Path, codec: str, eol: str):
    rows = ["one plain line", "春眠不觉晓、处处闻啼鸟", "needle 在这里", "last of all the lines"]
    (tmp_path / "f").write_bytes(eol.join([*rows, ""]).encode(codec))
    with opened(tmp_path) as files:
        for pattern in ("needle", "n..dle 在", "闻啼鸟$"):
            answer = grep(files, pattern)
            assert len(answer.hits) == 1
            want = Want.parse(f"f#L{answer.hits[0].line}")
            (piece,) = asyncio.run(files.read([want], start=None, lines=None, numbers=False, budget=ROOM))
            assert isinstance(piece, TextPiece)
            assert answer.lines == [f"f:{answer.hits[0].line}: {piece.body.rstrip()}"]


def test_latin_1_is_searched_as_text(tmp_path: Path, engine: str):
    (tmp_path / "f").write_bytes("le garçon\nla crème brûlée\n".encode("latin-1"))
    with opened(tmp_path) as files:
        assert grep(files, "cr.me", ignore_case=True).lines == ["f:2: la crème brûlée"]
        assert grep(files, "GARÇON", ignore_case=True).lines == ["f:1: le garçon"]


def test_what_was_passed_over_is_said(tmp_path: Path):
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "a.log").write_text("needle\n")
    (tmp_path / ".env").write_text("needle\n")
    (tmp_path / "bin").write_bytes(b"needle\0\1\2" * 50)
    (tmp_path / "link").symlink_to("a.log")
    os.mkfifo(tmp_path / "pipe")
    with opened(tmp_path) as files:
        text = grep(files, "needle").text
        assert "skipped: 1 ignored, 1 denied, 1 binary, 1 links not followed, 1 not regular files" in text
        assert grep(files, "needle", ignored=True).lines == ["a.log:1: needle"]
        for path, code in ((".env", "denied"), ("pipe", "not_regular"), ("nowhere", "not_found")):
            with pytest.raises(Failure) as caught:
                grep(files, "needle", path=path)
            assert caught.value.reason == code


def test_context_is_shown_once_and_groups_are_apart(tmp_path: Path):
    (tmp_path / "f").write_text("".join(f"{'hit' if n in (3, 5, 6, 20) else 'row'} {n}\n" for n in range(1, 22)))
    with opened(tmp_path) as files:
        assert grep(files, "hit", context=1).lines == [
            "f-2- row 2",
            "f:3: hit 3",
            "f-4- row 4",
            "f:5: hit 5",
            "f:6: hit 6",
            "f-7- row 7",
            "--",
            "f-19- row 19",
            "f:20: hit 20",
            "f-21- row 21",
        ]


def test_a_hit_that_was_context_before_still_shows_its_match(tmp_path: Path):
    (tmp_path / "f").write_text("hit\n" + "x" * 900 + "hit\n")
    with opened(tmp_path) as files:
        first, second = grep(files, "hit", context=1).lines
        assert first == "f:1: hit"
        assert second.startswith("f:2@") and second.endswith("hit")
        assert grep(files, "hit", context=1, limit=1).lines[1].startswith("f-2- xxx")


def test_modes_tell_files_or_counts(tmp_path: Path):
    (tmp_path / "a").write_text("x\nx x\ny\n")
    (tmp_path / "b").write_text("y\n")
    (tmp_path / "c").write_text("x")
    with opened(tmp_path) as files:
        assert grep(files, "x", mode="files").lines == ["a", "c"]
        assert grep(files, "x", mode="count").lines == ["a: 2", "c: 1"]


def test_a_long_line_is_cut_around_its_match_with_the_way_to_read_on(tmp_path: Path):
    (tmp_path / "min.js").write_text("é" * 5_000 + "needle" + "y" * 5_000 + "\n")
    with opened(tmp_path) as files:
        (line,) = grep(files, "needle").lines
        place, _, text = line.partition(": ")
        assert len(text) <= 302 and text.startswith("…") and text.endswith("…") and "needle" in text
        match = re.fullmatch(r"min\.js:1@(\d+)", place)
        assert match
        want = Want.parse(f"min.js#L1@{match[1]}")
        (piece,) = asyncio.run(files.read([want], start=None, lines=None, numbers=False, budget=1_000))
        assert isinstance(piece, TextPiece) and piece.body.startswith(text.strip("…")[:200])


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le"])
def test_a_large_file_is_searched_to_its_end_with_context_over_the_seams(tmp_path: Path, codec: str):
    rows = [f"row {n} {'é' * (n % 50)}" for n in range(40_000)]
    hits = set(range(0, 40_000, 97))
    text = "".join(f"{row}{' needle' if n in hits else ''}\r\n" for n, row in enumerate(rows))
    (tmp_path / "large").write_bytes(text.encode(codec))
    with opened(tmp_path) as files:
        answer = grep(files, "needle", budget=10**9, context=2)
        assert [hit.line - 1 for hit in answer.hits] == sorted(hits)
        shown = {int(match[1]) for line in answer.lines if (match := re.match(r"large[:-](\d+)[:-] ", line))}
        assert shown == {n + 1 + near for n in hits for near in (-2, -1, 0, 1, 2) if 0 <= n + near < 40_000}
        assert grep(files, "needle", mode="count").lines == [f"large: {len(hits)}"]
        assert grep(files, "needle", mode="files").lines == ["large"]
        parts = pages(files, "needle", limit=100)
        assert [hit.line - 1 for part in parts for hit in part.hits] == sorted(hits)


def test_one_enormous_line_is_one_hit_wherever_the_match_lies(tmp_path: Path):
    for at in (10, 1_048_570, 1_048_576 + 300, 2_900_000):
        (tmp_path / "one.json").write_bytes(b"x" * at + b"needle" + b"x" * (3_000_000 - at))
        with opened(tmp_path) as files:
            answer = grep(files, "needle")
            assert len(answer.hits) == 1
            found = re.match(r"one\.json:1@?(\d*): (…?)(x*)needle", answer.lines[0])
            assert found
            assert int(found[1] or 0) + len(found[3]) == at
            assert grep(files, "needle", mode="count").lines == ["one.json: 1"]


# --- pages


def pages(files: Files, pattern: str, **more: Any) -> list[Grepped]:
    answers: list[Grepped] = []
    after: Any = None
    while not answers or after is not None:
        answers.append(grep(files, pattern, after=after, **more))
        after = json.loads(json.dumps(answers[-1].next))
        assert len(answers) < 2_000
    return answers


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b/a", "b/c", "b.d", "c"]),
        st.lists(st.sampled_from(["x", "y", "xy"]), max_size=9),
        max_size=5,
    ),
    st.integers(1, 4),
    st.sampled_from(["lines", "files", "count"]),
    st.integers(0, 2),
    st.sampled_from([600, ROOM]),
)
def test_pages_of_a_search_are_the_whole_search(
    tree: dict[str, list[str]], limit: int, mode: str, context: int, budget: int
):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "b").mkdir()
        for path, rows in tree.items():
            (folder / path).write_text("".join(f"{row}\n" for row in rows))
        with opened(folder) as files:
            whole = grep(files, "x", mode=mode, context=context)
            parts = pages(files, "x", mode=mode, context=context, limit=limit, budget=budget)
    assert whole.next is None
    assert [hit for part in parts for hit in part.hits] == whole.hits
    assert all(len(part.hits) <= limit for part in parts)


def test_pages_over_several_roots_and_from_a_named_file(tmp_path: Path):
    for root in ("one", "two"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "f").write_text("x\n" * 5)
    with opened(tmp_path / "one", tmp_path / "two") as files:
        assert sum(len(part.hits) for part in pages(files, "x", limit=3)) == 10
        assert sum(len(part.hits) for part in pages(files, "x", limit=3, path="two/f")) == 5


def test_an_answer_stays_within_its_budget(tmp_path: Path):
    (tmp_path / "f").write_text("some words with x\n" * 3_000)
    with opened(tmp_path) as files:
        parts = pages(files, "x", budget=5_000)
        assert all(len(part.text) <= 5_000 for part in parts)
        assert sum(len(part.hits) for part in parts) == 3_000


# --- patterns that would run for ever


def test_a_catastrophic_pattern_is_harmless(tmp_path: Path, engine: str):
    (tmp_path / "a").write_text("fine aab\n")
    (tmp_path / "f").write_text("a" * 40 + "!\n")
    started = time.monotonic()
    with opened(tmp_path) as files:
        if engine == "re2":
            assert grep(files, "(a+)+$").hits == []
        else:
            with pytest.raises(TimedOut) as caught:
                grep(files, "(a+)+$")
            assert (caught.value.reason, caught.value.may_retry) == ("pattern_too_slow", False)
            assert children() == []
    assert time.monotonic() - started < 5


def test_what_was_found_before_a_catastrophic_file_is_kept(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(KillableRegex, "batch", 1)
    (tmp_path / "a").write_text("aaa\n")
    (tmp_path / "b").write_text("a" * 40 + "!\n")
    with opened(tmp_path) as files:
        answer = grep(files, "^(a+)+$")
        assert answer.lines == ["a:1: aaa"]
        if engine == "process":
            assert "stopped: This pattern takes too long" in answer.text
            with pytest.raises(TimedOut):
                grep(files, "^(a+)+$", after=answer.next)


def test_a_wrong_pattern_is_not_taken_for_an_unreadable_file(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(KillableRegex, "batch", 1)
    (tmp_path / "a").write_text("aaa\n")
    with opened(tmp_path) as files, pytest.raises(Invalid):
        grep(files, "(")


def test_the_process_is_killed_when_nobody_waits_any_more():
    mine = job()
    engine = KillableRegex("(a+)+$", ignore_case=False, job=mine, wall_s=30)
    stopped: list[BaseException] = []

    def scan() -> None:
        try:
            engine.scan([b"a" * 60 + b"!"], 1)
        except Stopped as error:
            stopped.append(error)
        finally:
            engine.close()

    thread = threading.Thread(target=scan)
    thread.start()
    until = time.monotonic() + 10
    while not children() and time.monotonic() < until:
        thread.join(0.01)
    mine.cancel()
    thread.join(5)
    assert stopped and not thread.is_alive()
    assert children() == []


def children() -> list[str]:
    """Processes that this one started and that are still there."""
    return [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def test_a_line_wide_class_is_not_quadratic(tmp_path: Path):
    (tmp_path / "f").write_text("a 12345678\n" * 40_000 + "c\n")
    started = time.monotonic()
    with opened(tmp_path) as files:
        assert grep(files, "a[^b]*c").hits == []
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", r"(?<=a)b\1", "*", "a\nb", "", "x" * 1_001, "\ud800"])
def test_a_pattern_that_cannot_be_names_field_and_problem_not_itself(tmp_path: Path, engine: str, pattern: str):
    (tmp_path / "f").write_text("a\n")
    with opened(tmp_path) as files, pytest.raises(Invalid) as caught:
        grep(files, pattern)
    assert caught.value.details["field"] == "pattern"
    assert len(pattern) < 2 or pattern not in json.dumps(caught.value.as_dict(), ensure_ascii=False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("ab \u00e9\udce9", max_size=6), max_size=8),
    st.sampled_from(["a", "a+b", "^b", " $", "^$", "[^a]", "é|b", "(?i)A"]),
)
def test_both_engines_find_the_same(rows: list[str], pattern: str):
    block = "".join(f"{row}\n" for row in rows).encode("utf-8", "surrogateescape")
    mine = job()
    linear = engine_for(pattern + "()", literal=False, ignore_case=False, job=mine)
    killable = KillableRegex(pattern, ignore_case=False, job=mine)
    try:
        (one,), (other,) = linear.scan([block], 100), killable.scan([block], 100)
    finally:
        killable.close()
    assert _lines(block, one) == _lines(block, other) or b"\xe9" in block.replace("é".encode(), b"")
    for start, stop in other:
        assert b"\n" not in block[start:stop]


def _lines(block: bytes, spans: list[tuple[int, int]]) -> list[int]:
    return [block.count(b"\n", 0, start) for start, _ in spans]


# --- time and cancellation


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many small files, so that a search takes a while."""
    folder = tmp_path_factory.mktemp("wide")
    for d in range(40):
        (folder / f"d{d:02d}").mkdir()
        for f in range(100):
            (folder / f"d{d:02d}" / f"f{f:02d}").write_text("some text\n" * 20)
    return folder


def test_a_search_out_of_time_says_how_far_it_came_and_goes_on_from_there(wide: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "SOFT_SHARE", 0.001)
    with opened(wide) as files:
        first = grep(files, "nowhere to be found")
        assert first.late and first.next is not None
        assert re.search(r"-- time is up after \d+ files, at d\d\d/f\d\d\n", first.text)
        parts = pages(files, "some text$", mode="files", limit=10**6)
    found = [hit.path for part in parts for hit in part.hits]
    assert len(parts) > 1
    assert sorted(set(found)) == sorted(found) and len(found) == 4_000


@pytest.mark.parametrize("mode", ["lines", "files", "count"])
def test_even_a_search_with_no_time_at_all_gets_somewhere(
    tmp_path: Path, mode: str, engine: str, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a/b", "a/c", "d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no\nneedle here\n")
    (tmp_path / "large").write_text("no\nneedle here\n" * 60_000)
    with opened(tmp_path) as files:
        whole = grep(files, "nee+dle", mode=mode, budget=10**9, limit=10**6)
        monkeypatch.setattr(workers, "SOFT_SHARE", 0.0)
        parts = pages(files, "nee+dle", mode=mode, budget=10**9, limit=10**6)
    found = [(hit.path, hit.line) for part in parts for hit in part.hits]
    assert len(parts) >= 4
    assert found == [(hit.path, hit.line) for hit in whole.hits]
    if mode == "count":
        assert any(re.fullmatch(r"large: \d+ or more", line) for part in parts for line in part.lines)


def test_a_search_that_finds_nothing_to_search_still_stops_in_time(wide: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "SOFT_SHARE", 0.0)
    with opened(wide) as files:
        parts = pages(files, "text", glob="*.none")
    assert len(parts) == 42  # each of 41 folders, and the end
    assert all(part.late for part in parts[:-1])


def test_one_enormous_line_cannot_stop_a_search_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "f").write_bytes(b"a\nb\n" + b"x" * 4_000_000 + b"\nneedle\n")
    monkeypatch.setattr(workers, "SOFT_SHARE", 0.0)
    with opened(tmp_path) as files:
        assert [hit.line for part in pages(files, "needle") for hit in part.hits] == [4]


def test_a_cancelled_search_stops_at_once(wide: Path):
    async def cancelled() -> float:
        with opened(wide) as files:
            task = asyncio.create_task(asked(files, "nowhere to be found"))
            done = 0
            while not done:
                await asyncio.sleep(0.001)
                lanes = files.workers._lanes.values()
                done = max((job.job.done for lane in lanes for job in lane.working), default=0)
            task.cancel()
            started = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await task
            while any(lane.working for lane in files.workers._lanes.values()):
                await asyncio.sleep(0.001)
                assert time.monotonic() - started < 5
            return time.monotonic() - started

    assert min(asyncio.run(cancelled()) for _ in range(3)) < 0.1  # the best of three: tests share the machine


def test_progress_is_reported_while_it_runs(wide: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "PROGRESS_EVERY_S", 0.002)
    told: list[int] = []

    async def tell(done: int) -> None:
        told.append(done)

    async def searched() -> None:
        with opened(wide) as files:
            await asked(files, "(some|other) texts", progress=tell)

    asyncio.run(searched())
    assert told
    assert told == sorted(told)
    assert 0 < told[-1] <= 4_040


def test_a_small_read_is_quick_while_searches_run(wide: Path):
    """Two searches at once want every long thread; reads have their own. The bound is loose: the machine is shared."""

    async def measured() -> float:
        with opened(wide) as files:
            stop = asyncio.Event()

            async def search() -> None:
                while not stop.is_set():
                    await asked(files, "nowhere to be found")

            searches = [asyncio.create_task(search()) for _ in range(2)]
            times: list[float] = []
            for _ in range(50):
                started = time.perf_counter()
                await files.read([Want.parse("d00/f00")], start=None, lines=None, numbers=False, budget=ROOM)
                times.append(time.perf_counter() - started)
            stop.set()
            await asyncio.gather(*searches)
            return sorted(times)[len(times) // 2]

    assert asyncio.run(measured()) < 0.1
