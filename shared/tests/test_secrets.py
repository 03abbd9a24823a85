"""What must never leave, and what may."""

import base64
import html
import json
import re
import timeit
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from mcp_bulkhead.guards.secrets import PLACEHOLDER, SHAPES, Redactor

SECRET = 'Tr0ub4dor&3 "/+é'
BODY = "MHcCAQEEIB4p9fQ0Zw1xN6mJt3vUu8aXyKcEoLrDsHqWgTzVbYnPoAoGCCqGSM49\n"
KEY = f"-----BEGIN EC PRIVATE KEY-----\n{BODY}-----END EC PRIVATE KEY-----"
# Put together here, so that no scanner takes this file for a leak.
JWT = "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
SHAPED = {
    "private_key": KEY,
    "aws_key_id": "AK" + "IAIOSFODNN7EXAMPLE",
    "github_token": "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a",
    "gitlab_token": "gl" + "pat-x1Y2z3A4b5C6d7E8f9G0",
    "slack_token": "xo" + "xb-123456789012-abcdefABCDEF",
    "model_api_key": "sk-" + "ant-api03-" + "x9Yz" * 6,
    "json_web_token": JWT,
    "authorization": "Authorization: Bearer abcdef123456",
    "bearer": "bearer 0123456789abcdefghij.XYZ",
    "url_password": "postgres://app:hunter2@db.internal:5432/shop",
}


def kept(name: str) -> str:
    """What may stay of a shaped example."""
    return {"authorization": "abcdef123456", "bearer": "0123456789abcdefghij.XYZ", "url_password": "hunter2"}.get(
        name, SHAPED[name]
    )


@pytest.mark.parametrize("shape", [shape.name for shape in SHAPES])
def test_what_has_the_shape_of_a_secret_stays_out_of_logs(shape: str):
    text = f"before {SHAPED[shape]} after"
    shown, found = Redactor().redact(text)
    assert found == 1
    assert kept(shape) not in shown
    assert shown.startswith("before ")
    assert PLACEHOLDER in shown
    assert shown.endswith(" after")


@pytest.mark.parametrize("shape", [shape.name for shape in SHAPES])
def test_a_file_that_holds_a_token_is_shown_as_it_is(shape: str):
    assert Redactor().redact(SHAPED[shape], shapes=False) == (SHAPED[shape], 0)


@pytest.mark.parametrize(
    "text",
    [
        "The bearer of this letter, and the authorization: yes.",
        "git@github.com:owner/repo.git and https://example.org:8443/path?q=a@b",
        "AKIA is a prefix; eyJ too; ghp_short; xoxb-; -----BEGIN CERTIFICATE-----",
        "user@example.org wrote: 12:30 see http://host/ at 5@home",
        "the scheme is Basic authentication with a bearer token of your choice",
    ],
)
def test_ordinary_text_is_left_alone(text: str):
    assert Redactor([SECRET]).redact(text) == (text, 0)


def test_a_key_that_was_cut_off_is_still_a_key():
    shown, _ = Redactor().redact(KEY[:80])
    assert shown == PLACEHOLDER


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        re.sub("%..", lambda escape: escape.group().lower(), quote(SECRET)),
        quote_plus(SECRET),
        json.dumps({"p": SECRET}),
        json.dumps({"p": SECRET}, ensure_ascii=False),
        repr([SECRET]),
        html.escape(SECRET),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"usr:{SECRET}@host".encode()).decode(),
        base64.b64encode(f"user2:{SECRET}".encode()).decode(),
    ],
)
def test_a_known_secret_is_recognised_in_its_usual_clothes(form: str):
    shown, found = Redactor([SecretStr(SECRET)]).redact(f"value={form};", shapes=False)
    assert found == 1
    assert PLACEHOLDER in shown
    assert "Tr0ub4dor" not in shown


def test_one_line_of_a_known_key_is_enough():
    body = KEY.splitlines()[1]
    shown, found = Redactor([KEY]).redact(f"3: {body}\n4: rest", shapes=False)
    assert (shown, found) == (f"3: {PLACEHOLDER}\n4: rest", 1)


def test_the_public_lines_of_a_known_key_are_no_secret():
    other = KEY.replace("MHcC", "AAAA").replace("9fQ0", "BBBB")
    assert Redactor([KEY]).redact(other, shapes=False) == (other, 0)


def test_a_replaced_secret_stays_known():
    redactor = Redactor(["first-secret"])
    redactor.register("second-secret")
    assert redactor.redact("first-secret second-secret") == (f"{PLACEHOLDER} {PLACEHOLDER}", 2)


def test_a_secret_too_short_to_tell_from_text_is_refused():
    redactor = Redactor()
    assert not redactor.register("abc12")
    assert not redactor.register("redact")
    assert not redactor.register("  \n")
    assert redactor.redact("abc12 redact") == ("abc12 redact", 0)


def test_the_end_of_line_of_a_secret_file_is_not_part_of_the_secret():
    assert Redactor(["from-a-file\n"]).redact("x from-a-file y").found == 1


def test_overlapping_secrets_leave_no_rest():
    assert Redactor(["abcdefgh", "efghijkl"]).redact("<abcdefghijkl>") == (f"<{PLACEHOLDER}>", 1)


def test_a_secret_that_its_own_replacement_spells_takes_the_whole_text_with_it():
    assert Redactor(["a[redacted]"]).redact("a" * 20 + "[redacted] and more") == (PLACEHOLDER, 5)


def test_the_redactor_does_not_show_what_it_knows():
    assert SECRET not in repr(Redactor([SECRET]))


def test_json_is_redacted_in_keys_and_values():
    redactor = Redactor(["my-api-key"])
    assert redactor.redact_json({"my-api-key": ["x my-api-key", 3, None]}) == (
        {PLACEHOLDER: [f"x {PLACEHOLDER}", 3, None]},
        2,
    )


ALPHABET = st.sampled_from('ab/+"\\é :@=[]redact\n')
SECRETS = st.text(ALPHABET, min_size=6, max_size=24)


@given(st.lists(SECRETS, min_size=1, max_size=4), st.lists(st.text(ALPHABET, max_size=12), min_size=2, max_size=6))
def test_redacted_text_never_contains_the_secret(secrets: list[str], around: list[str]):
    redactor = Redactor()
    known = [secret.strip() for secret in secrets if redactor.register(secret)]
    assume(known)
    pieces = [piece for pair in zip(around, known * len(around), strict=False) for piece in pair]
    for shapes in (True, False):
        shown, found = redactor.redact("".join(pieces), shapes=shapes)
        assert found
        assert not [secret for secret in known if secret in shown]


TEXTS = st.lists(
    st.sampled_from([*SHAPED.values(), "my-api-key", "Bearer ", "://", ":", "@", " ", "x", "\n", '"', "."])
)


@given(TEXTS.map("".join))
def test_redacting_twice_changes_nothing_more(text: str):
    redactor = Redactor(["my-api-key"])
    once = redactor.redact(text).text
    assert redactor.redact(once) == (once, 0)


@given(TEXTS.map("".join), st.text(ALPHABET, max_size=30))
def test_json_that_is_not_suspect_as_a_whole_holds_nothing_to_redact(text: str, more: str):
    redactor = Redactor(["my-api-key", 'a"/+é\\ b'])
    encoded = json.dumps({"value": [text + more]})
    if not redactor.suspects_json(encoded):
        assert redactor.redact(text + more) == (text + more, 0)


@pytest.mark.parametrize(
    "hostile",
    ["eyJaaaaaaaa.", "eyJ-", "://a:", "://:", "-----BEGIN PRIVATE KEY-----", "authorization: ", "ghp_a", "bearer a "],
)
def test_no_text_takes_more_than_linear_time(hostile: str):
    def seconds(length: int) -> float:
        text = hostile * (length // len(hostile))
        return min(timeit.repeat(lambda: Redactor().redact(text), number=1, repeat=5))

    assert seconds(200_000) < 14 * seconds(50_000) + 0.005


def test_a_result_without_secrets_costs_next_to_nothing():
    text = ("def handler(self, request):  # the quick brown fox\n\treturn str(12345)\n" * 400)[:20_000]
    redactor = Redactor(["sk-0123456789abcdef0123456789"])
    once_us = min(timeit.repeat(lambda: redactor.redact(text, shapes=False), number=50, repeat=7)) / 50 * 1e6
    assert once_us < 250  # 15 to 30 measured
