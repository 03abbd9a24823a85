"""A continuation means what it said, to whom it was said, or nothing."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_bulkhead.errors import BadCursor
from mcp_bulkhead.state.cursors import LIFETIME_S, Cursors, binding
from mcp_bulkhead.testing.requirements import requirement

KEY = b"k" * 32
BOUND = binding("tenant/me", "fx_rows", {"count": 3})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
Whose = tuple[str, str, dict[str, Any]]
ARGUMENTS = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.none(), max_size=3)
WHOSE = st.tuples(st.text(max_size=8), st.text(max_size=8), ARGUMENTS)


@requirement("RES-9")
@given(JSON)
def test_a_position_comes_back_as_it_was(position: object):
    cursors = Cursors(KEY)
    assert cursors.open(cursors.mint(position, BOUND), BOUND) == position


@requirement("RES-9")
def test_a_change_of_any_byte_is_a_bad_cursor():
    cursors = Cursors(KEY)
    raw = bytearray(decoded(cursors.mint({"row": 17}, BOUND)))
    for at in range(len(raw)):
        for flip in (1, 0x80, 0xFF):
            changed = bytearray(raw)
            changed[at] ^= flip
            refused(cursors, encoded(changed))


@requirement("RES-9")
def test_a_change_of_any_character_is_a_bad_cursor_or_spells_the_same_bytes():
    cursors = Cursors(KEY)
    token = cursors.mint({"row": 17}, BOUND)
    for at in range(len(token)):
        for char in "A_-=z \n\u00e9":
            changed = token[:at] + char + token[at + 1 :]
            if changed != token and decoded_or_none(changed) != decoded(token):
                refused(cursors, changed)


@requirement("RES-9")
@given(st.text(max_size=200))
def test_what_nobody_issued_is_a_bad_cursor(token: str):
    refused(Cursors(KEY), token)


@requirement("RES-9")
def test_cutting_or_lengthening_is_a_bad_cursor():
    cursors = Cursors(KEY)
    raw = decoded(cursors.mint([1, "two"], BOUND))
    for length in range(len(raw)):
        refused(cursors, encoded(raw[:length]))
    refused(cursors, encoded(raw + b"\0"))
    refused(cursors, encoded(raw + b" "))


@requirement("RES-9")
@given(WHOSE, WHOSE)
def test_a_cursor_opens_for_the_same_caller_tool_and_arguments_only(mine: Whose, theirs: Whose):
    cursors, (caller, tool, arguments) = Cursors(KEY), mine
    token = cursors.mint(5, binding(caller, tool, arguments))
    assert cursors.open(token, binding(caller, tool, dict(reversed(list(arguments.items()))))) == 5
    if mine != theirs:
        refused(cursors, token, binding(*theirs))


@requirement("RES-9")
def test_another_key_opens_nothing():
    token = Cursors(KEY).mint(1, BOUND)
    refused(Cursors(b"another key of the same length!!"), token)


def test_a_cursor_is_good_for_a_day():
    cursors = Cursors(KEY)
    token = cursors.mint(1, BOUND, now=1_000)
    assert cursors.open(token, BOUND, now=1_000 + LIFETIME_S) == 1
    with pytest.raises(BadCursor) as old:
        cursors.open(token, BOUND, now=1_001 + LIFETIME_S)
    assert "day" in old.value.message


def test_the_refusal_repeats_nothing_of_the_token():
    with pytest.raises(BadCursor) as bad:
        Cursors(KEY).open("a-token-of-my-own-making", BOUND)
    assert "a-token-of-my-own-making" not in str(bad.value.as_dict())
    assert bad.value.as_dict()["hint"]


def refused(cursors: Cursors, token: str, bound: bytes = BOUND) -> None:
    with pytest.raises(BadCursor):
        cursors.open(token, bound)


def decoded(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def decoded_or_none(token: str) -> bytes | None:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None


def encoded(raw: bytes | bytearray) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
