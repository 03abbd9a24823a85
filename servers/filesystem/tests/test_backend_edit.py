"""Editing: exactly the bytes that were meant, in any encoding and with any line ends; and a miss that teaches."""

import random
import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_bulkhead.errors import MAX_ERROR_CHARS, Failure
from mcp_bulkhead.results import render_failure
from mcp_bulkhead_filesystem.backend.charset import detect
from mcp_bulkhead_filesystem.backend.diffs import MAX_CHARS, MAX_LINE, unified
from mcp_bulkhead_filesystem.backend.editing import Edit, apply
from mcp_bulkhead_filesystem.backend.splicing import Region, Span, composed

CHINESE = "春眠不觉晓、处处闻啼鸟。夜来风雨声、花落知多少。"
FRENCH = "Où est le garçon ? Il a mangé une crème brûlée à Noël."


def edit(raw: bytes, *edits: tuple[str, str] | tuple[str, str, bool]) -> bytes:
    return apply(raw, [Edit(each[0], each[1], all=len(each) > 2) for each in edits]).content


def failure(raw: bytes, *edits: tuple[str, str] | tuple[str, str, bool]) -> Failure:
    with pytest.raises(Failure) as caught:
        edit(raw, *edits)
    return caught.value


def differs(raw: bytes | str, old: str) -> str:
    found = failure(raw.encode() if isinstance(raw, str) else raw, (old, "something else"))
    assert found.reason == "no_match"
    return "; ".join(found.details.get("differs", ()))


# Line ends, encodings, marks


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_new_lines_end_as_the_file_ends_its_lines(eol: bytes):
    raw = b"one" + eol + b"two" + eol + b"three"
    assert edit(raw, ("two\n", "2a\n2b\n")) == b"one" + eol + b"2a" + eol + b"2b" + eol + b"three"
    assert edit(raw, ("three", "3\n4")) == raw[:-5] + b"3" + eol + b"4"
    assert edit(raw, ("one\ntwo\nthree", "x")) == b"x"


def test_mixed_line_ends_stay_where_they_were():
    raw = b"a\r\nb\nc\rd\r\ne"
    assert edit(raw, ("b\nc", "B\nC")) == b"a\r\nB\nC\rd\r\ne"
    assert edit(raw, ("a\nb\nc\nd\ne", "A\nb\nc\nd\nE")) == b"A\r\nb\nc\rd\r\nE"
    assert edit(raw, ("c\nd", "c\nnew\nd")) == b"a\r\nb\nc\rnew\rd\r\ne"
    assert edit(raw, ("a", "0\na")) == b"0\r\na\r\nb\nc\rd\r\ne"
    assert edit(raw, ("e", "e\nf")) == b"a\r\nb\nc\rd\r\ne\r\nf"


def test_two_line_ends_never_become_one():
    assert edit(b"a\rx\nb", ("x", "")) == b"a\r\r\nb"
    assert edit(b"a\rx\nb", ("x\n", "\n\n")).decode().splitlines() == ["a", "", "", "b"]
    assert edit(b"one\rtwo\n", ("one\ntwo\n", "\n\n")).decode().splitlines() == ["", ""]


def test_line_ends_in_what_is_sent_may_be_of_any_kind():
    assert edit(b"a\nb\n", ("a\r\nb", "x\r\ny")) == b"x\ny\n"
    assert edit(b"a\r\nb\r\n", ("a\r\nb", "x\ny")) == b"x\r\ny\r\n"


def test_a_missing_line_end_at_the_end_stays_missing():
    assert edit(b"a\nb", ("a", "A")) == b"A\nb"
    assert edit(b"a\nb", ("b", "B")) == b"a\nB"
    assert edit(b"a\nb\n", ("b\n", "b")) == b"a\nb"


@pytest.mark.parametrize(
    ("codec", "text", "old", "new"),
    [
        ("utf-8", FRENCH, "garçon", "garçonnet"),
        ("utf-8-sig", FRENCH, "Noël", "Pâques"),
        ("utf-16", FRENCH, "crème", "île"),
        ("utf-16-le", FRENCH + " ok", "crème", "île \U0001f600"),
        ("utf-16-be", FRENCH + " ok", "crème", "île"),
        ("latin-1", FRENCH, "brûlée", "glacée"),
        ("cp1252", FRENCH + " 5 €", "5 €", "6 € … “cher”"),
        ("gb18030", CHINESE * 3 + "x", "x", "花落"),
    ],
)
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_a_file_stays_in_its_encoding(codec: str, text: str, old: str, new: str, eol: str):
    raw = f"first{eol}{text}{eol}".encode(codec)
    wanted = f"first{eol}{text.replace(old, new)}{eol}".encode(codec)
    assert edit(raw, (old, new)) == wanted


def test_what_the_encoding_cannot_write_is_refused_by_name():
    found = failure(FRENCH.encode("latin-1"), ("garçon", "→"))
    assert (found.reason, "U+2192" in found.message, "latin-1" in found.message) == ("unencodable", True, True)
    assert failure(b"plain\n", ("plain", "half \ud83d")).reason == "unencodable"
    assert failure(b"plain\n", ("plain", "nul \0")).reason == "invalid_arguments"


def test_bytes_that_are_no_text_survive_an_edit_beside_them():
    raw = b"x" * 300_000 + b"\ncaf\xe9 \xff\nend\n"
    assert edit(raw, ("end", "END")) == raw.replace(b"end", b"END")
    assert failure(raw, ("end", "é")).reason == "encoding"
    assert edit("ab\n".encode("utf-16") + b"!", ("ab", "cd")) == "cd\n".encode("utf-16") + b"!"


@pytest.mark.parametrize("raw", [b"\x89PNG\r\n\x1a\n\0\0", b"\0\1\2\3"])
def test_what_is_not_text_is_not_edited(raw: bytes):
    assert failure(raw, ("a", "b")).reason == "binary"


# All or none, once or all


def test_later_edits_see_what_earlier_ones_left():
    assert edit(b"a b c", ("a", "x"), ("x b", "y"), ("y c", "done")) == b"done"


def test_one_edit_that_fails_undoes_all_and_is_named():
    found = failure(b"a b", ("a", "x"), ("missing", "y"))
    assert (found.reason, found.details["edit"]) == ("no_match", 2)


def test_text_that_is_there_more_than_once_is_ambiguous_and_its_lines_are_named():
    found = failure(b"x\ny\nx\nzx\n" * 5, ("x", "!"))
    assert found.reason == "ambiguous"
    assert found.details["lines"] == [1, 3, 4, 5, 7, 8, 9, 11, 12, 13]
    assert "15 places" in found.message
    assert failure(b"aaa", ("aa", "b")).reason == "ambiguous"


def test_all_changes_every_place_and_counts_them():
    done = apply(b"x\r\ny x\r\nx", [Edit("x", "long\nx", all=True)])
    assert (done.replaced, done.content) == (3, b"long\r\nx\r\ny long\r\nx\r\nlong\r\nx")


def test_edits_that_say_nothing_are_refused():
    assert failure(b"a", ("", "b")).details["field"] == "old"
    assert failure(b"a", ("a", "a")).reason == "no_change"
    assert failure(b"a\r\n", ("a\n", "a\r\n")).reason == "no_change"
    assert failure(b"a").reason == "invalid_arguments"
    assert failure(b"a", *[("a", "b")] * 101).reason == "invalid_arguments"


# What is told of a miss


def test_a_miss_says_what_differs():
    assert (
        differs("def f():\n\treturn 1\n", "def f():\n    return 1") == "indentation: 1 tab in the file, 4 spaces sent"
    )
    assert differs("a = 1  \nb\n", "a = 1\nb") == "trailing blanks"
    assert "line end" in differs("one\ntwo", "two\n")
    assert "U+201C" in differs("say “hi”\n", 'say "hi"')
    assert "U+00A0" in differs("a\u00a0b\n", "a b")
    assert "NFD" in differs(unicodedata.normalize("NFD", "un café\n"), "un café")
    assert "NFC" in differs("un café\n", unicodedata.normalize("NFD", "un café"))
    assert "case" in differs("Hello World\n", "hello world")
    assert "line numbers" in differs("alpha\nbeta\n", "  1: alpha\n  2: beta")
    assert "several" in differs("  Say “Hi”\n", 'say "hi"  ')
    assert differs("alpha beta gamma\n", "alpha beta delta") == "other text"
    assert differs("alpha beta gamma\n", "nothing of the kind at all, or so it seems") == ""


def test_a_miss_names_the_line_and_shows_it():
    lines = [f"line {number} of the file" for number in range(1, 200)]
    lines[99] = "    value = compute(first, second)"
    found = failure("\n".join(lines).encode(), ("    value = compute(first, third)", "x"))
    assert found.details["closest_line"] == 100
    assert found.details["diff"] == "-    value = compute(first, third)\n+    value = compute(first, second)"
    assert "line 100" in found.hint


def test_a_miss_in_a_block_finds_the_block_by_its_other_lines():
    lines = [f"row {number}" for number in range(500)]
    block = "\n".join([*lines[300:304], "row three hundred and four", *lines[305:308]])
    found = failure("\n".join(lines).encode(), (block, "x"))
    assert found.details["closest_line"] == 301
    assert found.details["diff"] == "-row three hundred and four\n+row 304"


def test_a_miss_is_told_in_a_short_answer():
    long = "word " * 2_000
    found = failure((long + "\n" + long).encode(), (long + "x\n" + long, "y"))
    answer = render_failure(found).content[0]
    assert len(getattr(answer, "text", "")) <= MAX_ERROR_CHARS


HOSTILE = {
    "one long line": ("a" * 1_900_000, "a" * 19_000 + "b"),
    "empty lines": ("\n" * 1_900_000, "\n" * 10_000 + "x"),
    "blanks": (" " * 1_900_000, " " * 10_000 + "x"),
    "equal lines": ("same\n" * 380_000, "same\n" * 3_000 + "other"),
    "numbers": ("1: " * 600_000, "1: " * 6_000 + "x"),
    "accents": ("e\u0301" * 600_000, "\u00e9" * 6_000 + "x"),
    "words": ("alpha beta gamma\n" * 110_000, "alpha beta delta\n" * 1_000),
    "larger than is searched": ("a\n" * 4_000_000, "b\n" * 100_000),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_miss_costs_no_more_than_a_few_passes(kind: str):
    text, old = HOSTILE[kind]
    begun = time.process_time()
    assert failure(text.encode(), (old, "!")).reason == "no_match"
    assert time.process_time() - begun < 8


@pytest.mark.parametrize("old", ["a" * 10_000, "a" * 9_999 + "b", "\n" * 10_000])
def test_looking_for_long_text_in_a_long_file_is_linear(old: str):
    raw = ("a" * 1_000_000 + "\n" * 1_000_000).encode()
    begun = time.process_time()
    assert failure(raw, (old, "!")).reason in {"ambiguous", "no_match"}
    assert time.process_time() - begun < 8


def test_many_places_in_a_large_file_are_changed_in_one_pass():
    raw = b"some words here\r\n" * 90_000
    begun = time.process_time()
    assert edit(raw, ("words", "other\nwords", True)) == raw.replace(b"words", b"other\r\nwords")
    assert time.process_time() - begun < 8


# Diffs


def test_the_diff_shows_each_changed_place_with_its_neighbours():
    raw = "".join(f"line {number}\n" for number in range(1, 31)).encode()
    done = apply(raw, [Edit("line 3\n", ""), Edit("line 20", "twenty\nand a half"), Edit("line 22", "LINE 22")])
    assert done.diff.split("\n") == [
        "@@ -1,6 +1,5 @@",
        *(" line 1", " line 2", "-line 3", " line 4", " line 5", " line 6"),
        "@@ -17,9 +16,10 @@",
        *(" line 17", " line 18", " line 19"),
        *("-line 20", "+twenty", "+and a half", " line 21", "-line 22", "+LINE 22"),
        *(" line 23", " line 24", " line 25"),
    ]


def test_a_long_diff_is_cut_and_says_so():
    done = apply(b"a line of some length\n" * 2_000, [Edit("some", "any", all=True)])
    assert len(done.diff) <= MAX_CHARS + 60
    assert "more changed place" in done.diff
    done = apply(b"x" * 5_000 + b"HERE" + b"y" * 5_000, [Edit("HERE", "THERE")])
    assert "HERE" in done.diff
    assert max(map(len, done.diff.split("\n"))) <= MAX_LINE + 8


LINES = st.lists(st.sampled_from(["a", "b", "ab", "", "abc"]), max_size=8)


@settings(max_examples=400, deadline=None)
@given(LINES, st.sampled_from(["", "\n"]), st.data())
def test_the_diff_turns_the_old_text_into_the_new(lines: list[str], end: str, data: Any):
    """Patching the old lines by the diff gives the new ones: with all context lines, nothing is left to chance."""
    text = "\n".join(lines) + end
    edits: list[Edit] = []
    now = text
    for _ in range(data.draw(st.integers(1, 4))):
        if not now:
            break
        start = data.draw(st.integers(0, len(now) - 1))
        old = now[start : data.draw(st.integers(start + 1, len(now)))]
        new = data.draw(st.sampled_from(["", "\n"])).join(data.draw(LINES))
        every = data.draw(st.booleans()) or now.find(old) != now.rfind(old)
        if old != new and len(now.replace(old, new)) < MAX_LINE:
            edits.append(Edit(old, new, all=every))
            now = now.replace(old, new)
    if not edits:
        return
    done = apply(text.encode(), edits)
    assert done.content.decode() == now
    assert patched(text, done.diff) == now


def patched(text: str, diff: str) -> str:
    """An applier of unified diffs that only believes what it sees."""
    source = text.splitlines(keepends=True)
    out: list[str] = []
    at = 0
    lines = diff.split("\n") if diff else []
    for number, line in enumerate(lines):
        if line.startswith("@@"):
            first, count = (int(part) for part in line.split()[1][1:].split(","))
            begin = first - 1 if count else first
            out += source[at:begin]
            at = begin
            continue
        if line.startswith("\\"):
            continue
        bare = number + 1 < len(lines) and lines[number + 1].startswith("\\")
        whole = line[1:] + ("" if bare else "\n")
        if line[0] in " -":
            assert source[at] == whole
            at += 1
        if line[0] in " +":
            out.append(whole)
    return "".join(out + source[at:])


# Against a model that knows nothing but bytes

ENCODINGS = {
    "utf-8": (b"", "utf-8", "Grüße 日本 \U0001f600 "),
    "utf-8+bom": (b"\xef\xbb\xbf", "utf-8", "Grüße 日本 "),
    "utf-16-le+bom": (b"\xff\xfe", "utf-16-le", "Grüße 日本 \U0001f600 "),
    "utf-16-be+bom": (b"\xfe\xff", "utf-16-be", "Grüße 日本 "),
    "latin-1": (b"", "latin-1", "élan für señor "),
    "cp1252": (b"", "cp1252", "“€” élan für "),
    "gb18030": (b"", "gb18030", CHINESE),
}


@st.composite
def files(draw: Any) -> tuple[bytes, str, str, list[tuple[str, str]]]:
    """A file as the model sees it: its mark, its codec, and its lines each with its own line end."""
    mark, codec, anchor = ENCODINGS[draw(st.sampled_from(sorted(ENCODINGS)))]
    letters = "ab" if codec == "gb18030" else "ab" + anchor
    words = st.text(letters, max_size=6)
    lines = [(anchor * 3, draw(st.sampled_from(["\n", "\r\n", "\r"])))]
    lines += draw(st.lists(st.tuples(words, st.sampled_from(["\n", "\r\n", "\r"])), max_size=6))
    if draw(st.booleans()):
        lines.append((draw(words), ""))
    # An empty line between a lone carriage return and a newline would make one line end of the two.
    lines = [(text or "a", eol) for text, eol in lines]
    return mark, codec, letters, lines


@settings(max_examples=600, deadline=None)
@given(files(), st.data())
def test_bytes_outside_an_edit_never_change(files: tuple[bytes, str, str, list[tuple[str, str]]], data: Any):
    mark, codec, letters, lines = files
    raw = mark + "".join(text + eol for text, eol in lines).encode(codec)
    shown = "".join(text + ("\n" if eol else "") for text, eol in lines)
    found = detect(raw, whole=True)
    if found is None or found.codec != codec:
        return  # the random text happens to look like another encoding; reading would say the same
    start = data.draw(st.integers(0, len(shown) - 1))
    end = data.draw(st.integers(start + 1, min(len(shown), start + 12)))
    old = shown[start:end]
    new = data.draw(st.text(letters + "\n", max_size=8))
    places = [place for place in range(len(shown)) if shown.startswith(old, place)]
    try:
        done = apply(raw, [Edit(old, new)])
    except Failure as refused:
        assert refused.reason == ("no_change" if old == new else "ambiguous")
        assert old == new or len(places) > 1
        return
    before, after = split_bytes(mark, codec, lines, start, end)
    assert done.content.startswith(before)
    assert done.content.endswith(after)
    assert len(done.content) >= len(before) + len(after)
    middle = done.content[len(before) : len(done.content) - len(after)].decode(codec)
    whole = done.content[len(mark) :].decode(codec)
    assert whole.replace("\r\n", "\n").replace("\r", "\n") == shown[:start] + new + shown[end:]
    ends = {eol for _, eol in lines if eol}
    if len(ends) == 1 and "\n" in new:
        assert middle.count(ends.pop()) == new.count("\n")


def split_bytes(mark: bytes, codec: str, lines: list[tuple[str, str]], start: int, end: int) -> tuple[bytes, bytes]:
    """The bytes before and behind a piece of the shown text, told character by character."""
    units = [char for text, eol in lines for char in (*text, *([eol] if eol else []))]
    before = mark + "".join(units[:start]).encode(codec)
    return before, "".join(units[end:]).encode(codec)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_regions_follow_every_further_change(chance: random.Random):
    """Against a text of which every original character is known by its number."""
    now: list[int] = list(range(40))
    regions: list[Region] = []
    fresh = 1_000
    for _ in range(chance.randrange(1, 5)):
        spans: list[Span] = []
        at = 0
        while at < len(now) and len(spans) < 3:
            start = chance.randrange(at, len(now) + 1)
            end = min(len(now), start + chance.randrange(0, 4))
            spans.append(Span(start, end, chance.randrange(0, 4)))
            at = end + 1
        for span in reversed(spans):
            now[span.start : span.end] = range(fresh, fresh + span.length)
            fresh += span.length
        regions = list(composed(regions, spans))
        rebuilt: list[int] = []
        done = 0
        for region in regions:
            rebuilt += [*range(done, region.old_start), *now[region.start : region.end]]
            assert len(rebuilt) == region.end
            done = region.old_end
        assert rebuilt + list(range(done, 40)) == now


def test_a_diff_of_nothing_is_nothing():
    assert unified("a", "a", ()) == ""
