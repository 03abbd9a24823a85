"""The class every server subclasses: what it refuses to be, and what the base gives."""

import ast
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, SecretBytes, SecretStr, ValidationError, create_model

import mcp_bulkhead.settings
from mcp_bulkhead.settings import Positional, ServerSettings, SettingsError, default_state_dir, describe, load, parse


class Settings(ServerSettings):
    """Nothing of its own."""


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "undescribed": ({"x": int}, "x has no description"),
    "reserved": ({"print_config": Annotated[str, Field(description="d")]}, "print_config is the name of a flag"),
    "negated": ({"no_audit": Annotated[bool, Field(description="d")]}, "no_audit is the name of a flag"),
    "aliased": ({"x": Annotated[str, Field(alias="y", description="d")]}, "x has a pydantic alias"),
    "many secrets": ({"x": Annotated[tuple[SecretStr, ...], Field(description="d")]}, "x should be one SecretStr"),
    "secret bytes": ({"x": Annotated[SecretBytes, Field(description="d")]}, "x should be one SecretStr"),
    "visible secret": (
        {"x": Annotated[SecretStr, Positional("X"), Field(description="d")]},
        "visible to every process",
    ),
    "taken file": (
        {"x": Annotated[SecretStr, Field(description="d")], "x_file": Annotated[str, Field(description="d")]},
        "x_file is where the secret x may be",
    ),
    "two positionals": (
        {
            "x": Annotated[str, Positional("X"), Field(description="d")],
            "y": Annotated[str, Positional("Y"), Field(description="d")],
        },
        "x and y are both positional",
    ),
}


@pytest.mark.parametrize(("annotations", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_class_that_could_not_be_given_on_three_ways_is_refused_when_it_is_made(
    annotations: dict[str, Any], said: str
):
    fields: Any = {name: (kind, ...) for name, kind in annotations.items()}
    with pytest.raises(TypeError, match=said):
        create_model("Wrong", __base__=ServerSettings, **fields)


def test_the_defaults_are_the_least():
    settings = load(Settings, server="test")
    assert settings.http is None
    assert settings.otlp_endpoint is None
    assert (settings.audit, settings.audit_payloads, settings.log_args, settings.metrics) == (True, False, False, False)
    assert (settings.deadline_s, settings.max_concurrency, settings.max_concurrency_per_caller) == (30.0, 16, 4)
    assert (settings.max_result_tokens, settings.hard_result_tokens) == (5_000, 25_000)
    assert (settings.max_request_bytes, settings.rate_limit_per_minute) == (4_194_304, 120)
    budgets = [name for name in Settings.model_fields if name.startswith("budget_")]
    assert [getattr(settings, name) for name in budgets] == [None] * 4


def test_settings_do_not_change_after_the_start():
    settings = load(Settings, server="test")
    with pytest.raises(ValidationError, match="frozen"):
        settings.audit = False  # pyright: ignore[reportAttributeAccessIssue]


def test_what_belongs_to_one_server_is_below_its_own_folder(tmp_path: Path):
    settings = load(Settings, server="test", state_dir=tmp_path)
    assert (settings.server, settings.server_state_dir) == ("test", tmp_path / "test")
    assert (settings.audit_dir, settings.kill_file) == (tmp_path / "test" / "audit", tmp_path / "test" / "kill")
    assert load(Settings, server="test", kill_switch=tmp_path / "off").kill_file == tmp_path / "off"


def test_a_hosted_server_logs_more_unless_it_is_told_otherwise():
    assert load(Settings, server="test").log_level == "warning"
    assert load(Settings, server="test", http="127.0.0.1:0").log_level == "info"
    assert load(Settings, server="test", http="127.0.0.1:0", log_level="ERROR").log_level == "error"


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8000", ("127.0.0.1", 8000)), ("[::1]:0", ("::1", 0)), ("box:65535", ("box", 65535))],
)
def test_an_address_is_given_as_a_socket_wants_it(text: str, address: tuple[str, int]):
    assert load(Settings, server="test", http=text).http_address == address
    assert load(Settings, server="test").http_address is None


def test_paths_are_expanded_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert load(Settings, server="test", state_dir="~/state").state_dir == tmp_path / "state"
    assert load(Settings, server="test", kill_switch="off").kill_switch == tmp_path / "off"


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"HOME": "/home/ada"}, "/home/ada/.local/state/mcp-bulkhead"),
        ("linux", {"HOME": "/home/ada", "XDG_STATE_HOME": "/state"}, "/state/mcp-bulkhead"),
        ("linux", {"HOME": "/home/ada", "XDG_STATE_HOME": "state"}, "/home/ada/.local/state/mcp-bulkhead"),
        ("darwin", {"HOME": "/Users/ada"}, "/Users/ada/Library/Application Support/mcp-bulkhead"),
        ("win32", {"LOCALAPPDATA": "/Local"}, "/Local/mcp-bulkhead"),
        ("win32", {"HOME": "/Users/ada"}, "/Users/ada/AppData/Local/mcp-bulkhead"),
    ],
)
def test_state_lives_where_the_platform_keeps_it(
    platform: str, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "platform", platform)
    assert default_state_dir(environ).as_posix() == expected


def test_a_user_without_a_home_folder_is_told_to_name_a_state_folder(monkeypatch: pytest.MonkeyPatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(SettingsError, match="name a folder with --state-dir"):
        parse(Settings, server="test", version="1", description="", argv=[], environ={})
    assert parse(Settings, server="test", version="1", description="", argv=["--state-dir=/s"], environ={}).settings


def test_only_environment_py_reads_the_environment():
    folder = Path(mcp_bulkhead.settings.__file__).parent
    readers = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "environb", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert readers == {"environment.py"}


def test_a_server_may_change_the_default_of_a_setting_that_all_servers_have():
    class Slow(ServerSettings):
        deadline_s: Annotated[float, Field(gt=0, description="Seconds a call may take.")] = 120.0

    assert load(Slow, server="test").deadline_s == 120.0
    info = next(info for info in describe(Slow, "test") if info.name == "deadline_s")
    assert (info.default, info.common) == ("120", True)
