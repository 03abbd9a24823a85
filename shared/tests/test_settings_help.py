"""--help, and the same knowledge as data."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr

from mcp_bulkhead.settings import ACTION_FLAGS, Alias, Kind, Positional, ServerSettings, SettingInfo, describe, parse
from mcp_bulkhead.settings.help import help_text


class Settings(ServerSettings):
    roots: Annotated[
        tuple[str, ...],
        Positional("ROOT[:ro|:rw]"),
        Kind("directory"),
        Field(min_length=1, description="Folders to open."),
    ]
    deny: Annotated[tuple[str, ...], Field(description="Patterns that are never opened.")] = (".env*", "*.pem")
    style: Annotated[Literal["short", "long"], Field(description="How much to say.")] = "short"
    token: Annotated[SecretStr, Alias("TEST_TOKEN"), Field(description="The token of the ticket system.")]
    fallback: Annotated[SecretStr, Field(description="A secret with a default.")] = SecretStr("hunter22")


INFOS = {info.name: info for info in describe(Settings, "ticket-box")}


def page(width: int = 80, examples: tuple[str, ...] = ()) -> str:
    return help_text(
        list(INFOS.values()), server="ticket-box", version="1.2.3", description="What.", examples=examples, width=width
    )


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("info", INFOS.values(), ids=INFOS)
def test_help_tells_each_setting_s_flags_variables_and_meaning(info: SettingInfo):
    words = [info.flag, *info.env_names, *info.file_env_names, flat(info.description), info.default or "required"]
    words += [flag for flag in (info.off_flag, info.file_flag, info.positional) if flag]
    assert [word for word in words if word not in flat(page())] == []


def test_help_tells_the_usage_the_actions_the_file_and_examples():
    text = page()
    assert "Usage:\n  mcp-bulkhead-ticket-box [OPTIONS] --token SECRET ROOT[:ro|:rw]...\n" in text
    assert [flag for flag in ACTION_FLAGS if f"  {flag}" not in text] == []
    assert "~/.config/mcp-bulkhead/ticket-box.toml" in flat(text)
    assert text.count("\n  mcp-bulkhead-ticket-box ") >= 3
    assert "\n  one example\n" in page(examples=("one example",))


def test_help_has_its_groups_in_order():
    groups = re.findall(r"^(\S.*):$", page(), re.MULTILINE)
    assert groups[:6] == ["Usage", "This server", "Limits", "Hosting", "Audit and telemetry", "Actions"]


@pytest.mark.parametrize("width", [1, 60, 80, 500])
def test_help_keeps_prose_within_the_width_and_never_breaks_a_name(width: int):
    prose = [line for line in page(width).splitlines() if line.startswith("      ") and " env " not in line]
    assert max(map(len, prose)) <= min(max(width, 40), 110)
    assert all(info.env in page(width) for info in INFOS.values())


def test_help_keeps_a_long_word_whole_so_that_it_can_be_copied():
    address = "https://example.org/" + "long-" * 30
    text = help_text([], server="x", version="1", description=f"See {address} first.", examples=(), width=60)
    assert f"\n{address}\n" in text


def test_help_prints_plain_text_and_exits_with_0_whatever_else_is_wrong(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        parse(Settings, server="ticket-box", version="1", description="", argv=["--nonsense", "-h"], environ={})
    out = capsys.readouterr().out
    assert caught.value.code == 0
    assert "--token-file FILE" in out
    assert all(char.isprintable() or char == "\n" for char in out)


def test_nothing_is_printed_without_help(capfd: pytest.CaptureFixture[str]):
    argv = ["/data", "--token=x"]
    parse(Settings, server="ticket-box", version="1", description="", argv=argv, environ={"HOME": "/h"})
    parse(Settings, server="ticket-box", version="1", description="", argv=["--version"], environ={})
    assert capfd.readouterr() == ("", "")


def test_a_description_exists_for_every_field_and_own_settings_come_first():
    assert set(INFOS) == set(Settings.model_fields)
    common = [info.common for info in INFOS.values()]
    assert common == sorted(common)
    assert {name for name, info in INFOS.items() if not info.common} == {"roots", "deny", "style", "token", "fallback"}
    assert all(info.description and info.type and info.metavar for info in INFOS.values())
    assert all((info.default is None) == info.required for info in INFOS.values())


def test_a_setting_is_described_in_full():
    roots = INFOS["roots"]
    assert (roots.flag, roots.env, roots.key) == ("--roots", "MCP_BULKHEAD_TICKET_BOX_ROOTS", "roots")
    assert (roots.type, roots.form, roots.positional) == ("list of folders", "directory", "ROOT[:ro|:rw]")
    assert (roots.required, roots.secret, roots.multiple, roots.common) == (True, False, True, False)
    token = INFOS["token"]
    assert (token.aliases, token.secret, token.file_key) == (("TEST_TOKEN",), True, "token_file")
    assert token.file_env_names == ("MCP_BULKHEAD_TICKET_BOX_TOKEN_FILE", "TEST_TOKEN_FILE")
    assert INFOS["style"].type == "one of short, long"
    assert INFOS["deadline_s"].type == "number, more than 0, at most 3600"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("deny", ".env*, *.pem"),
        ("read_only", "false"),
        ("deadline_s", "30"),
        ("http", "not set"),
        ("allowed_hosts", "none"),
        ("scopes", "all"),
        ("log_level", "warning; info with --http"),
        ("kill_switch", "STATE_DIR/ticket-box/kill"),
    ],
)
def test_a_default_is_shown_as_a_person_would_say_it(name: str, shown: str):
    assert INFOS[name].default == shown


def test_a_secret_s_default_and_this_machine_s_folders_are_not_described():
    text = json.dumps([info._asdict() for info in INFOS.values()]) + page()
    assert "hunter22" not in text
    assert str(Path.home()) not in text
