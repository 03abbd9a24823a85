"""Deny rules: which names stay closed, in every spelling a file system may accept for them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_bulkhead.errors import Invalid
from mcp_bulkhead.guards.deny import DEFAULT_DENY, DenyRules

CLOSED = {
    ".env": ".env*",
    ".env.production": ".env*",
    "app/.ENV": ".env*",
    "app/.Env.Local": ".env*",
    ".envs/notes.txt": ".env*",
    "server.pem": "*.pem",
    "tls/Server.KEY": "*.key",
    "tls/server.key.": "*.key",
    "tls/server.key .": "*.key",
    "id_ed25519": "id_*",
    "id_rsa/readme": "id_*",
    ".ssh/config": ".ssh/**",
    "home/anna/.ssh/known_hosts": ".ssh/**",
    "home/.SSH/sub/deep/file": ".ssh/**",
    ".\u200cssh/config": ".ssh/**",
    ".\u017fsh/config": ".ssh/**",
    ".aws/credentials": ".aws/**",
    ".netrc": ".netrc",
    ".git-credentials": ".git-credentials",
    ".kube/config": ".kube/config",
    ".\u212aube/config": ".kube/config",
    "home/.kube/config": ".kube/config",
    ".kube/config/inside": ".kube/config",
    ".docker/config.json": ".docker/config.json",
    "a/.docker/Config.JSON": ".docker/config.json",
    ".npmrc": ".npmrc",
    "x/.pypirc": ".pypirc",
}
OPEN = [
    "",
    "env",
    "a.env",
    "pem",
    "server.pem.txt",
    "keys/key",
    "monkey",
    "kid_rsa",
    ".ssh",
    "x.ssh/config",
    ".sshd/config",
    "config",
    ".kube/config2",
    ".kube/cache/config.json",
    ".docker/config",
    "config.json",
    "netrc",
    "src/main.py",
    "a/b/c/d.txt",
]


@pytest.mark.parametrize(("rel", "pattern"), CLOSED.items())
def test_the_default_rules_name_the_pattern_that_closes(rel: str, pattern: str):
    assert DEFAULT_DENY.matches(rel) == pattern


@pytest.mark.parametrize("rel", OPEN)
def test_the_default_rules_leave_ordinary_names_open(rel: str):
    assert DEFAULT_DENY.matches(rel) is None


@pytest.mark.parametrize(
    ("pattern", "closed", "left_open"),
    [
        ("secret?.txt", ["secret1.txt", "a/SecretX.txt"], ["secret.txt", "secret12.txt"]),
        ("[abc]-*", ["a-1", "x/b-"], ["d-1", "a1"]),
        ("[!abc]x", ["dx", "-x"], ["ax", "x"]),
        ("[^0-9]y", ["ay"], ["7y"]),
        ("[a-]z", ["az", "-z"], ["bz"]),
        ("[!]", ["!", "[!]"[1]], ["a"]),
        ("[x", ["[x"], ["x"]),
        ("a[]]b", ["a]b"], ["ab"]),
        ("[a\\&&b~~c||d]", ["\\", "&", "~", "|", "a"], ["e", "[a]"]),
        ("*", ["anything", "a/b"], [""]),
        ("dump.*.sql", ["dump.1.sql"], ["dump.sql"]),
        ("a*b*c", ["abc", "aXbYc"], ["ab"]),
        ("private/", ["private", "x/private/y"], ["privates"]),
        ("/top", ["top", "top/x"], ["a/top"]),
        ("/a/*/c", ["a/b/c", "a/b/c/d"], ["x/a/b/c", "a/c", "a/b/b/c"]),
        ("a/**/c", ["a/c", "a/b/c", "x/a/b/b/c/y"], ["a/b", "c"]),
        ("/a/**/c", ["a/c", "a/b/c"], ["x/a/b/c"]),
        ("**/deep", ["deep", "a/b/deep"], ["deeper"]),
        ("/**/deep", ["deep", "a/b/deep"], ["deeper"]),
        ("x/**/**", ["x/y"], ["x"]),
        ("Grüße", ["gru\u0308sse", "GRÜSSE/x", "GRU\u0308SSE"], ["grusse"]),
        ("odd. ", ["odd. ", "ODD. ."], ["od"]),
        ("line\nbreak", ["line\nbreak"], ["line"]),
    ],
)
def test_a_pattern_closes_what_it_says_and_no_more(pattern: str, closed: list[str], left_open: list[str]):
    rules = DenyRules([pattern])
    assert [rel for rel in closed if rules.matches(rel) != pattern] == []
    assert [rel for rel in left_open if rules.matches(rel)] == []


@pytest.mark.parametrize("pattern", ["", "/", "**", "**/**", "!keep", "[z-a]"])
def test_a_rule_that_cannot_mean_anything_is_refused_at_start(pattern: str):
    with pytest.raises(Invalid) as failed:
        DenyRules([".env", pattern])
    assert failed.value.details["field"] == "deny"


def test_no_rules_close_nothing():
    rules = DenyRules([])
    assert rules.matches(".ssh/id_rsa") is None
    assert not rules.in_dir(".ssh")("id_rsa")


def test_the_first_pattern_that_fits_is_named():
    assert DenyRules(["*.txt", "a*"]).matches("a.txt") == "*.txt"
    assert DenyRules(["b*", "*.txt"]).matches("a.txt") == "*.txt"


NAMES = st.sampled_from(
    [".env", ".ENV", "a", "b.key", "c.key.", ".ssh", ".kube", "config", "id_x", "Id_", "\u00e9", "x."]
)
RULES = st.lists(
    st.sampled_from(
        [".env*", "*.key", ".ssh/**", ".kube/config", "id_*", "/a", "a/**/config", "[bc]*y", "e\u0301", "x.", "*"]
    ),
    max_size=4,
    unique=True,
)


def parents_of(rel: str) -> list[str]:
    return [rel[: match.start()] for match in re.finditer("/", rel)]


@given(RULES, st.lists(NAMES, min_size=1, max_size=4))
def test_the_fast_test_of_a_folder_agrees_with_the_whole_path(patterns: list[str], names: list[str]):
    rules = DenyRules(patterns)
    folder, name = "/".join(names[:-1]), names[-1]
    assert rules.in_dir(folder)(name) == (rules.matches("/".join(names)) is not None)


@given(RULES, st.lists(NAMES, min_size=1, max_size=4))
def test_everything_below_a_closed_folder_is_closed(patterns: list[str], names: list[str]):
    rules = DenyRules(patterns)
    rel = "/".join(names)
    if any(rules.matches(parent) for parent in parents_of(rel)):
        assert rules.matches(rel)
