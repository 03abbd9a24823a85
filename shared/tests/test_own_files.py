"""Rules that close a server's own files and folders below a root, whatever the operator's own rules are."""

from pathlib import Path

import pytest

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.deny import DenyRules, closed_places
from mcp_bulkhead.publish.installed import without_credentials
from mcp_bulkhead.settings import ServerSettings, load, parse


def closed(root: Path, *places: Path) -> DenyRules:
    return DenyRules(closed_places(root, places))


def test_a_place_below_the_root_is_closed_with_everything_in_it(tmp_path: Path):
    rules = closed(tmp_path, tmp_path / "deep" / "state")
    assert rules.matches("deep/state")
    assert rules.matches("deep/state/git/audit/git/audit.key")
    assert rules.in_dir("deep/state/git")("cursor.key")
    assert rules.in_dir("deep")("state")


def test_a_namesake_elsewhere_stays_open(tmp_path: Path):
    rules = closed(tmp_path, tmp_path / "state")
    assert rules.matches("deep/state/notes.txt") is None
    assert rules.matches("state-of-things.txt") is None


def test_a_place_outside_the_root_needs_no_rule(tmp_path: Path):
    assert closed_places(tmp_path / "root", [tmp_path / "state", tmp_path / "roots"]) == ()


@pytest.mark.parametrize(
    "name", ["[ab]*", "*", "**", "?", "[", "]", "[!a]", "!x", "{a,b}", "a b", "\\", "st\u00e4te", "#"]
)
def test_glob_characters_in_a_place_stand_for_themselves(tmp_path: Path, name: str):
    rules = closed(tmp_path, tmp_path / name / "keys")
    assert rules.matches(f"{name}/keys/audit.key")
    assert rules.matches("other/keys/audit.key") is None
    assert rules.matches("a/keys") is None


def test_a_name_of_invisible_characters_is_closed_as_well(tmp_path: Path):
    assert closed(tmp_path, tmp_path / "\u200b" / "keys").matches("\u200b/keys/audit.key")
    assert closed(tmp_path, tmp_path / "\u200b").matches("\u200b/audit.key")


def test_a_place_is_judged_where_it_really_is(tmp_path: Path):
    (tmp_path / "root" / "real").mkdir(parents=True)
    (tmp_path / "way-in").symlink_to("root")
    (tmp_path / "root" / "link").symlink_to("real")
    rules = closed(tmp_path / "way-in", tmp_path / "root" / "link" / "kill")
    assert rules.matches("real/kill")
    assert rules.matches("real/other") is None


def test_a_link_on_the_way_to_a_place_cannot_be_replaced(tmp_path: Path):
    (tmp_path / "link").symlink_to("real")
    assert closed(tmp_path, tmp_path / "link" / "kill").matches("link")


@pytest.mark.parametrize("inside", ["", "git", "git/audit"])
def test_a_root_inside_the_state_folder_is_refused_with_the_fix(tmp_path: Path, inside: str):
    with pytest.raises(Failure) as refused:
        closed_places(tmp_path / "state" / inside, [tmp_path / "state"])
    assert refused.value.reason == "invalid_root"
    assert "--state-dir" in (refused.value.hint or "")


def test_a_ring_of_links_in_a_place_is_no_reason_to_fail(tmp_path: Path):
    (tmp_path / "ring").symlink_to("ring")
    assert closed(tmp_path, tmp_path / "ring").matches("ring")


def test_state_kill_file_configuration_and_secret_files_are_a_servers_own(tmp_path: Path):
    (tmp_path / "token").write_text("t" * 20)
    (tmp_path / "config.toml").write_text("log_args = true\n")
    parsed = parse(
        ServerSettings,
        server="git",
        version="1",
        description="",
        argv=["--http-token-file", str(tmp_path / "token"), "--config", str(tmp_path / "config.toml")],
        environ={"HOME": str(tmp_path), "MCP_BULKHEAD_GIT_KILL_SWITCH": str(tmp_path / "stop")},
    )
    assert parsed.settings is not None
    own = parsed.settings.own_places
    assert parsed.settings.state_dir in own
    assert {tmp_path / "stop", tmp_path / "token", tmp_path / "config.toml"} <= set(own)


def test_the_configuration_named_by_a_variable_counts_too(tmp_path: Path):
    (tmp_path / "c.toml").write_text("log_args = true\n")
    environ = {"HOME": str(tmp_path), "MCP_BULKHEAD_GIT_CONFIG": str(tmp_path / "c.toml")}
    parsed = parse(ServerSettings, server="git", version="1", description="", argv=[], environ=environ)
    assert parsed.settings is not None
    assert tmp_path / "c.toml" in parsed.settings.own_places


def test_the_kill_file_has_its_own_place_when_none_is_given(tmp_path: Path):
    settings = load(ServerSettings, server="git", state_dir=tmp_path)
    assert settings.own_places == (tmp_path, tmp_path / "git" / "kill")


@pytest.mark.parametrize(
    "url",
    [
        "https://otel:hunter2@collector/v1",
        "https://hunter2@collector/v1",
        "postgres://app:hun/ter2@db:5432/x",
        "postgres://app:p@hunter2@db/x",
        "http://[::1]:1/a,https://u:hunter2@b/c",
    ],
)
@pytest.mark.parametrize("given", ["--otlp-endpoint={}", "{}"])
def test_a_password_inside_a_url_is_not_printed(url: str, given: str):
    (shown,) = without_credentials([given.format(url)])
    assert "hunter2" not in shown
    assert "ter2" not in shown
    assert "://YOUR_USER:YOUR_PASSWORD@" in shown


@pytest.mark.parametrize(
    "plain", ["https://host:8080/pkg@v1", "https://host/a@b", "me@host", "/home/me@work:rw", "x://"]
)
def test_what_holds_no_password_is_printed_as_it_was_given(plain: str):
    assert without_credentials([plain]) == [plain]
