"""Configurations of clients, read back the way each client reads them."""

import base64
import json
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from mcp_bulkhead import ServerSettings, ServerSpec
from mcp_bulkhead.errors import Invalid, Missing
from mcp_bulkhead.publish.clients import (
    CLIENTS,
    Launch,
    claude_command,
    client_config,
    config_key,
    config_text,
    cursor_link,
    print_config,
    vscode_command,
    vscode_link,
)
from mcp_bulkhead.publish.commands import client_config_command
from mcp_bulkhead.publish.installed import PLACE, absolute_arguments, completed, runnable
from mcp_bulkhead.publish.plain import toml_string, yaml_text
from mcp_bulkhead.settings import Folder, Positional, describe

COMMAND = "/opt/b/bin/mcp-bulkhead-x"
ARGS = ("/data/a b", '/data/"quoted"', "--limit=3", "/data/grüße\\n")
ENV = {"TOKEN": "s3cret", "MODE": "fast"}


class Settings(ServerSettings):
    folders: Annotated[tuple[Folder, ...], Positional("FOLDER[:ro]"), Field(description="Folders.", min_length=1)]
    spare: Annotated[Folder | None, Field(description="Another folder.")] = None
    branch: Annotated[str, Field(description="A branch.")] = "main"
    strict: Annotated[bool, Field(description="Be strict.")] = False
    token: Annotated[SecretStr, Field(description="Opens it.")]


class Spec(ServerSpec):
    """A server whose settings are those above, without a package around them."""

    def settings(self) -> type[ServerSettings]:
        return Settings


INFOS = describe(Settings, "x")
SPEC = Spec(name="x", module="published_x", title="The X", summary="X.", tool_prefix="x_")


def launch() -> Launch:
    return Launch(key="x", title="The X", command=COMMAND, args=ARGS, env=ENV, secrets=frozenset({"TOKEN"}))


def read(client: str, text: str) -> tuple[str, list[str], dict[str, str]]:
    """Command, arguments and variables as this client takes them from its file."""
    if client == "codex":
        entry = tomllib.loads(text)["mcp_servers"]["x"]
    elif client == "goose":
        entry = read_yaml(text)["extensions"]["x"]
        assert (entry["type"], entry["enabled"], entry["name"]) == ("stdio", True, "The X")
        return entry["cmd"], entry["args"], entry["envs"]
    else:
        keys = {"vscode": "servers", "zed": "context_servers"}
        entry = json.loads(text)[keys.get(client, "mcpServers")]["x"]
    return entry["command"], entry["args"], entry["env"]


def read_yaml(text: str) -> Any:
    """The block YAML that we write, and no more of it: maps and lists by indent, scalars as JSON or as a plain word."""
    value, rest = yaml_block([line for line in text.splitlines() if line.strip()], 0)
    assert rest == []
    return value


def yaml_block(lines: list[str], indent: int) -> tuple[Any, list[str]]:
    items, pairs = list[Any](), dict[Any, Any]()
    while lines and len(lines[0]) - len(lines[0].lstrip()) == indent:
        line, lines = lines[0][indent:], lines[1:]
        if line.startswith("- "):
            items.append(yaml_word(line[2:]))
            continue
        key, _, rest = line.partition(":")
        if rest.strip():
            pairs[yaml_word(key)] = yaml_word(rest.strip())
        else:
            pairs[yaml_word(key)], lines = yaml_block(lines, len(lines[0]) - len(lines[0].lstrip()))
    return items or pairs, lines


def yaml_word(text: str) -> Any:
    return text if text.replace("-", "_").isidentifier() and text not in ("true", "false", "null") else json.loads(text)


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_reads_back_what_was_meant(client: str):
    env = ENV | ({"TOKEN": "${input:token}"} if client == "vscode" else {})
    assert read(client, config_text(client, launch())) == (COMMAND, list(ARGS), env)


def test_vscode_asks_for_a_secret_instead_of_keeping_it():
    text = config_text("vscode", launch())
    assert "s3cret" not in text
    assert json.loads(text)["inputs"] == [
        {"type": "promptString", "id": "token", "description": "TOKEN", "password": True}
    ]


def test_no_variables_no_empty_table():
    plain = Launch(key="x", title="X", command=COMMAND)
    for client in CLIENTS:
        assert "env" not in config_text(client, plain)


def test_the_cursor_link_carries_the_whole_entry():
    link = urlsplit(cursor_link(launch()))
    query = parse_qs(link.query)
    assert (link.scheme, link.netloc, link.path) == ("cursor", "anysphere.cursor-deeplink", "/mcp/install")
    assert query["name"] == ["x"]
    assert json.loads(base64.b64decode(query["config"][0])) == {"command": COMMAND, "args": list(ARGS), "env": ENV}


def test_the_vscode_link_and_command_say_the_same_and_keep_the_secret_out():
    scheme, _, rest = vscode_link(launch()).partition("?")
    from_link = json.loads(unquote(rest))
    program, flag, argument = shlex.split(vscode_command(launch()))
    assert (scheme, program, flag) == ("vscode:mcp/install", "code", "--add-mcp")
    assert json.loads(argument) == from_link
    assert (from_link["name"], from_link["args"], from_link["env"]["TOKEN"]) == ("x", list(ARGS), "${input:token}")
    assert from_link["inputs"][0]["password"] is True


def test_the_claude_command_survives_a_shell():
    said = shlex.split(claude_command(launch()))
    assert said[:4] == ["claude", "mcp", "add", "x"]
    assert said[said.index("--") + 1 :] == [COMMAND, *ARGS]


def test_an_unknown_client_is_refused_with_the_known_ones():
    with pytest.raises(Invalid) as refused:
        client_config(SPEC, "netscape", command=COMMAND)
    assert all(client in refused.value.hint for client in CLIENTS)


@pytest.mark.parametrize("name", ["filesystem", "a-very-long-server-name", "fifteen-letters-x"])
def test_the_key_leaves_room_for_the_tools_name(name: str):
    assert 0 < len(config_key(name)) <= 16
    assert name.startswith(config_key(name))
    assert not config_key(name).endswith("-")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_toml_and_yaml(text: str):
    assert tomllib.loads(f"x = {toml_string(text)}")["x"] == text
    written = yaml_text({"x": text}).removeprefix("x: ").rstrip("\n")
    assert yaml_word(written) == text


# -- on this machine --------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which `notes` and `main` are folders."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "main").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_relative_folders_become_absolute_and_nothing_else_changes(here: Path):
    given = [
        "notes",
        "notes:rw",
        "/data",
        "~/x",
        "missing",
        "--spare",
        "notes",
        "--spare=notes",
        "--branch",
        "main",
        "--strict",
    ]
    assert absolute_arguments(given, INFOS, here) == [
        f"{here}/notes",
        f"{here}/notes:rw",
        "/data",
        "~/x",
        "missing",
        f"--spare={here}/notes",
        f"--spare={here}/notes",
        "--branch=main",
        "--strict",
    ]
    assert absolute_arguments(["--", "notes", "--strict"], INFOS, here) == ["--", f"{here}/notes", "--strict"]


def test_what_is_required_and_missing_gets_a_stand_in():
    args, env = completed([], INFOS)
    assert (args, env) == ([PLACE], {"MCP_BULKHEAD_X_TOKEN": "YOUR_TOKEN"})
    assert completed(["/data"], INFOS)[0] == ["/data"]
    assert completed(["--folders", "/data"], INFOS)[0] == ["--folders", "/data"]


def test_the_printed_configuration_is_the_only_thing_on_stdout(here: Path, capsys: pytest.CaptureFixture[str]):
    assert print_config(SPEC, "claude-desktop", ["notes"]) == 0
    out, err = capsys.readouterr()
    entry = json.loads(out)["mcpServers"]["x"]
    assert entry["args"][-1] == str(here / "notes")
    assert Path(entry["command"]).is_absolute()
    assert entry["env"] == {"MCP_BULKHEAD_X_TOKEN": "YOUR_TOKEN"}
    assert "claude_desktop_config.json" in err
    assert "Replace" in err


def test_the_command_is_the_script_beside_this_python_or_else_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    assert runnable(SPEC) == (str(python), ["-m", "published_x"])
    (tmp_path / "mcp-bulkhead-x").touch()
    assert runnable(SPEC) == (str(tmp_path / "mcp-bulkhead-x"), [])


def test_a_server_that_is_not_installed_is_named():
    with pytest.raises(Missing, match="nowhere"):
        client_config_command("nowhere", "cursor")
