"""Reading: encodings, exact continuation, very long lines, several files, what is not text."""

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_bulkhead.errors import Failure, TooLarge
from mcp_bulkhead.guards.paths import RootFS, Roots
from mcp_bulkhead_filesystem.backend import BinaryPiece, FailedPiece, Files, MediaPiece, Piece, TextPiece, Want

BIG = 100_000
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde"
CHINESE = "春眠不觉晓、处处闻啼鸟。夜来风雨声、花落知多少。"
FRENCH = "Où est le garçon ? Il a mangé une crème brûlée à Noël.\n"
LETTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=400)


def read(
    folder: Path,
    *wants: str | Want,
    start: int | None = None,
    lines: int | None = None,
    numbers: bool = False,
    budget: int = BIG,
    max_media_bytes: int = 5_000_000,
) -> Sequence[Piece]:
    root = RootFS(str(folder))
    files = Files(Roots([root]), threads=2, max_media_bytes=max_media_bytes)
    try:
        parsed = [Want.parse(want) if isinstance(want, str) else want for want in wants]
        return asyncio.run(files.read(parsed, start=start, lines=lines, numbers=numbers, budget=budget))
    finally:
        files.close()
        root.close()


def page(folder: Path, want: str | Want, **more: Any) -> TextPiece:
    (piece,) = read(folder, want, **more)
    assert isinstance(piece, TextPiece)
    return piece


def everything(folder: Path, name: str, *, budget: int, lines: int = 1_000) -> str:
    """All pages of a file, each asked for in the words of the one before."""
    bodies: list[str] = []
    want: str | None = name
    while want is not None:
        piece = page(folder, want, budget=budget, lines=lines)
        assert piece.body or piece.more is None, "a page that goes on must hold something"
        bodies.append(piece.body)
        want = piece.more
        assert len(bodies) < 5_000
    return "".join(bodies)


def normalised(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def charset_of(piece: TextPiece) -> str:
    found = re.search(
        r"  (utf-8|utf-16-[lb]e|latin-1|cp1252|gb18030)(\+bom)?(?: (?:lf|crlf|cr|mixed))?  etag=", piece.header
    )
    assert found
    return found[1]


@settings(max_examples=150, deadline=None)
@given(
    text=st.lists(LETTERS, max_size=12).flatmap(
        lambda parts: st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=len(parts), max_size=len(parts)).map(
            lambda ends: "".join(part + end for part, end in zip(parts, ends, strict=True))
        )
    ),
    tail=LETTERS,
    codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"]),
    budget=st.integers(0, 900),
    lines=st.integers(1, 4),
)
@example("x" * 300 + "\r\n", "\U0001f600" * 300, "utf-16-le", 0, 1)
def test_the_pages_of_a_file_put_together_are_the_file(text: str, tail: str, codec: str, budget: int, lines: int):
    whole = text + tail
    mark = "\ufeff" if codec.startswith("utf-16") else ""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "f").write_bytes((mark + whole).encode(codec))
        assert everything(Path(folder), "f", budget=budget, lines=lines) == normalised(whole)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=600) | st.binary(max_size=50).map(lambda raw: raw.replace(b"\0", b"a") * 40), st.integers(0, 600)
)
@example(b"\x81\x30\x81" * 200, 0)
@example(b"\xb4\xba\xc3\xdf\xb2\xbb\xbe\xf5\x81" * 100, 0)
def test_any_bytes_at_all_are_told_exactly_or_called_binary(raw: bytes, budget: int):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "f").write_bytes(raw)
        (first,) = read(Path(folder), "f", budget=budget)
        if not isinstance(first, TextPiece):
            return
        told = everything(Path(folder), "f", budget=budget)
        codec = charset_of(first)
        if "+bom" in first.header:
            raw = raw[3 if codec == "utf-8" else 2 :]
        if codec.startswith("utf-16"):
            odd = raw[len(raw) - len(raw) % 2 :].decode("ascii", "surrogateescape")
            plain = raw[: len(raw) - len(raw) % 2].decode(codec, "surrogatepass") + odd
        else:
            plain = raw.decode(codec, "surrogateescape")
        shown = re.sub("[\udc80-\udcff]", lambda bad: f"\\x{ord(bad[0]) - 0xDC00:02x}", normalised(plain))
        assert told == re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", shown)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab\u00e9\u6625 ", max_size=8), min_size=1, max_size=30), st.data())
def test_a_range_is_exactly_those_lines(rows: list[str], data: st.DataObject):
    first = data.draw(st.integers(1, len(rows)))
    last = data.draw(st.integers(first, len(rows) + 3))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "f").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        piece = page(Path(folder), f"f#L{first}-{last}")
    assert piece.body == "".join(f"{row}\n" for row in rows[first - 1 : last])
    assert piece.more is None
    assert f"/{len(rows)}  " in piece.header


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"plain\n", "utf-8 lf"),
        ("caf\u00e9\r\n".encode(), "utf-8 crlf"),
        ("caf\u00e9\r".encode("utf-8-sig"), "utf-8+bom cr"),
        ("one\ntwo\r\n".encode("utf-16"), "utf-16-le+bom mixed"),
        ("plain words\n".encode("utf-16-le"), "utf-16-le lf"),
        ("plain words\n".encode("utf-16-be"), "utf-16-be lf"),
        (f"{CHINESE}\n{CHINESE}".encode("gbk"), "gb18030 lf"),
        (FRENCH.encode("latin-1"), "latin-1 lf"),
        ("\u201cquoted\u201d \u2014 50 \u20ac\n".encode("cp1252"), "cp1252 lf"),
        (b"no end", "utf-8  "),
    ],
)
def test_encoding_and_line_ends_are_named_and_read_right(tmp_path: Path, raw: bytes, named: str):
    (tmp_path / "f").write_bytes(raw)
    piece = page(tmp_path, "f")
    assert named in piece.header
    assert piece.body == normalised(raw.decode(charset_of(piece)).removeprefix("\ufeff"))


def test_bytes_that_do_not_decode_are_shown_and_counted(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfgood\nbad \xff\xfe\n")
    piece = page(tmp_path, "f")
    assert piece.body == "good\nbad \\xff\\xfe\n"
    assert "2 bytes are not utf-8" in piece.text


def test_a_header_says_range_total_size_encoding_and_etag(tmp_path: Path):
    (tmp_path / "notes.md").write_text("a\nb\nc\nd")
    piece = page(tmp_path, "notes.md#L2-3")
    assert re.fullmatch(r"== notes\.md  L2-3/4  7 B  utf-8 lf  etag=[0-9a-f]{16}", piece.header)
    assert page(tmp_path, "notes.md").text.endswith("d\n-- no newline at the end of the file\n")
    assert page(tmp_path, "notes.md", numbers=True).body == "1\ta\n2\tb\n3\tc\n4\td"


def test_an_empty_file_and_a_start_behind_the_end_say_so(tmp_path: Path):
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_text("a\nb\n")
    assert "empty" in page(tmp_path, "empty").header
    assert "nothing at line 9: the last one is 2" in page(tmp_path, "short#L9").text


def test_a_negative_start_is_the_end_of_the_file(tmp_path: Path):
    (tmp_path / "log").write_text("".join(f"{n}\n" for n in range(1, 2_001)))
    piece = page(tmp_path, "log", start=-2)
    assert piece.body == "1999\n2000\n"
    assert "L1999-2000/2000" in piece.header


def test_at_most_a_thousand_lines_over_all_files_and_the_rest_is_named(tmp_path: Path):
    (tmp_path / "a").write_text("x\n" * 700)
    (tmp_path / "b").write_text("y\n" * 700)
    (tmp_path / "c").write_text("z\n")
    first, second, third = read(tmp_path, "a", "b", "c#L1-9")
    assert isinstance(first, TextPiece) and isinstance(second, TextPiece) and isinstance(third, TextPiece)
    assert (first.more, second.more, third.more) == (None, "b#L301-", "c#L1-9")
    assert (first.lines, second.lines, third.lines) == (700, 300, 0)


def test_an_answer_stays_within_its_budget(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("some words in a line\n" * 600)
    pieces = read(tmp_path, "a", "b", "c", budget=20_000)
    text = "".join(piece.text for piece in pieces)
    assert 15_000 < len(text) <= 20_000
    assert "-- more: b#L" in text and "-- more: c#L1-" in text


def test_control_characters_are_budgeted_as_they_will_be_written_out(tmp_path: Path):
    (tmp_path / "colours").write_text("\x1b[31mred\x1b[0m\n" * 3_000)
    piece = page(tmp_path, "colours", budget=20_000)
    assert len(piece.body.replace("\x1b", "\\u{e0001}")) <= 20_000
    assert piece.more is not None


def test_a_file_whose_name_looks_like_a_range_is_read(tmp_path: Path):
    (tmp_path / "a.py").write_text("1\n2\n3\n")
    (tmp_path / "a.py#L2").write_text("the odd one\n")
    assert page(tmp_path, "a.py#L2").body == "the odd one\n"
    assert page(tmp_path, "a.py#L3").body == "3\n"
    assert page(tmp_path, "a.py#L2#L1").body == "the odd one\n"


@pytest.mark.parametrize("text", ["f#L0", "f#L5-4", "f#L0-0"])
def test_an_impossible_range_names_the_field(tmp_path: Path, text: str):
    (tmp_path / "f").write_text("a\n" * 9)
    with pytest.raises(Failure) as caught:
        read(tmp_path, text)
    assert caught.value.as_dict()["details"]["field"] == "paths"


def test_one_bad_path_does_not_cost_the_others(tmp_path: Path):
    (tmp_path / "good").write_text("here\n")
    good, missing, denied = read(tmp_path, "good", "nowhere", ".env")
    assert isinstance(good, TextPiece) and isinstance(missing, FailedPiece)
    assert isinstance(denied, FailedPiece)
    assert "not_found" in missing.text


def test_the_only_path_being_bad_is_a_failure_of_the_call(tmp_path: Path):
    (tmp_path / ".env").write_text("SECRET=1")
    for name, code in (("nowhere", "not_found"), (".env", "denied"), ("../x", "outside_root"), (".", "is_dir")):
        with pytest.raises(Failure) as caught:
            read(tmp_path, name)
        assert caught.value.reason == code


def test_images_come_as_media_by_their_bytes_not_their_name(tmp_path: Path):
    (tmp_path / "picture.txt").write_bytes(PNG)
    (tmp_path / "words.png").write_text("just words\n")
    media, text = read(tmp_path, "picture.txt", "words.png")
    assert isinstance(media, MediaPiece) and (media.mime, media.data) == ("image/png", PNG)
    assert isinstance(text, TextPiece)


def test_media_over_the_cap_is_too_large_also_when_it_is_the_sum(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(PNG)
    with pytest.raises(TooLarge):
        read(tmp_path, "a.png", max_media_bytes=10)
    first, second = read(tmp_path, "a.png", "b.png", max_media_bytes=len(PNG) + 5)
    assert isinstance(first, MediaPiece) and isinstance(second, FailedPiece)


@pytest.mark.parametrize(
    ("name", "raw", "mime"),
    [
        ("a.zip", b"PK\3\4" + b"\0" * 30, "application/zip"),
        ("a.docx", b"PK\3\4" + b"\0" * 30, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("prog", b"\x7fELF\2\1\1" + b"\0" * 30, "application/x-executable"),
        ("blob", b"\0\1\2\3\xff" * 9, "application/octet-stream"),
        ("db", b"SQLite format 3\0" + b"\1" * 30, "application/vnd.sqlite3"),
    ],
)
def test_other_binaries_are_named_and_linked(tmp_path: Path, name: str, raw: bytes, mime: str):
    (tmp_path / name).write_bytes(raw)
    (piece,) = read(tmp_path, name)
    assert isinstance(piece, BinaryPiece)
    assert (piece.size, piece.uri) == (len(raw), f"file://{tmp_path}/{name}")
    assert piece.mime == mime


def test_a_line_longer_than_the_budget_is_cut_and_continued_exactly(tmp_path: Path):
    long = "".join(f"{n}," for n in range(40_000))
    (tmp_path / "one.json").write_text(f"head\n{long}\ntail\n")
    first = page(tmp_path, "one.json#L2-3", budget=20_000)
    assert first.more is not None and re.fullmatch(r"one\.json#L2@\d+-3", first.more)
    assert "line 2 goes on" in first.text
    assert everything(tmp_path, "one.json", budget=20_000) == f"head\n{long}\ntail\n"


def test_the_first_page_of_a_huge_line_reads_only_its_beginning(tmp_path: Path):
    """A sparse file of 4 GB whose text is one line: reading it through would take seconds and gigabytes."""
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.write(b"x" * 300_000)
        file.truncate(4 << 30)
    started = time.perf_counter()
    piece = page(tmp_path, "huge.json", budget=20_000)
    assert time.perf_counter() - started < 1
    assert piece.more is not None
    assert piece.header.startswith("== huge.json  L1/?  4.3 GB")
    deep = page(tmp_path, "huge.json#L1@200000-", budget=20_000)
    assert deep.body.startswith("xxx")


def test_a_large_file_is_not_counted_until_its_end_is_seen(tmp_path: Path):
    large = tmp_path / "large.log"
    row = b"a line of the log that says nothing much\n"
    large.write_bytes(row * (18_000_000 // len(row)))
    total = 18_000_000 // len(row)
    os.utime(large, (1, 1))
    root = RootFS(str(tmp_path))
    files = Files(Roots([root]), threads=2)

    async def asked() -> tuple[Piece, Piece, Piece]:
        async def one(want: str, start: int | None = None) -> Piece:
            return (await files.read([Want.parse(want)], start=start, lines=None, numbers=False, budget=BIG))[0]

        return await one("large.log"), await one("large.log", -1), await one("large.log#L400000-400001")

    first, last, deep = asyncio.run(asked())
    files.close()
    root.close()
    assert isinstance(first, TextPiece) and isinstance(last, TextPiece) and isinstance(deep, TextPiece)
    assert "L1-1000/?" in first.header
    assert f"L{total}/{total}" in last.header
    assert (deep.lines, deep.body) == (2, row.decode() * 2)


def test_a_file_changed_while_it_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "f"
    target.write_text("a\n" * 50)
    real = os.pread

    def pread(fd: int, count: int, offset: int) -> bytes:
        data = real(fd, count, offset)
        if os.fstat(fd).st_size == 100:
            target.write_text("a\n" * 49 + "changed\n")
        return data

    monkeypatch.setattr(os, "pread", pread)
    piece = page(tmp_path, "f")
    assert piece.changed
    assert "changed while it was read" in piece.text


def test_a_file_rewritten_at_once_is_not_answered_from_memory(tmp_path: Path):
    """Same size, same clock tick: only the fresh file's facts tell them apart."""
    root = RootFS(str(tmp_path))
    files = Files(Roots([root]), threads=1)
    target = tmp_path / "f"

    async def header() -> str:
        (piece,) = await files.read([Want.parse("f")], start=None, lines=None, numbers=False, budget=BIG)
        return piece.text

    target.write_bytes(b"a\nb\n")
    now = time.time()
    os.utime(target, (now, now))
    assert "L1-2/2" in asyncio.run(header())
    with target.open("r+b") as same:
        same.write(b"abc\n")
    os.utime(target, (now, now))
    assert "L1/1" in asyncio.run(header())
    files.close()
    root.close()


def test_a_resource_is_the_whole_file_untouched(tmp_path: Path):
    (tmp_path / "page.html").write_bytes("<p>caf\u00e9</p>\r\n".encode("utf-16"))
    (tmp_path / "x.png").write_bytes(PNG)
    (tmp_path / "big").write_bytes(b"x" * 2_000)
    root = RootFS(str(tmp_path))
    files = Files(Roots([root]), threads=1, max_media_bytes=1_000)
    text = asyncio.run(files.open_resource("page.html"))
    image = asyncio.run(files.open_resource(f"file://{tmp_path}/x.png"))
    assert (text.body, text.mime) == ("<p>caf\u00e9</p>\r\n", "text/html")
    assert (image.body, image.mime, image.size) == (PNG, "image/png", len(PNG))
    with pytest.raises(TooLarge):
        asyncio.run(files.open_resource("big"))
    files.close()
    root.close()
