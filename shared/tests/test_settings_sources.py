"""Flag, variable and file give the same setting, and the first of them wins."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import CoreSchema, core_schema

from mcp_bulkhead.settings import Alias, FileSecret, Parsed, Positional, ServerSettings, SettingsError, load, parse


class Place:
    """A server's own type: pydantic makes it from text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


def even(number: int) -> int:
    if number % 2:
        raise ValueError("should be even")
    return number


class Settings(ServerSettings):
    places: Annotated[tuple[Place, ...], Positional("PLACE"), Field(description="Places.")] = ()
    word: Annotated[str, Field(description="A word.")] = "default"
    maybe: Annotated[str | None, Field(description="A word or nothing.")] = None
    whole: Annotated[int, Field(description="A whole number.")] = 0
    evens: Annotated[tuple[Annotated[int, AfterValidator(even)], ...], Field(description="Even numbers.")] = ()
    share: Annotated[float, Field(description="A number.")] = 0.0
    fast: Annotated[bool, Field(description="A switch.")] = False
    folder: Annotated[Path | None, Field(description="A path.")] = None
    colour: Annotated[Literal["red", "green"], Field(description="A choice.")] = "red"
    names: Annotated[list[str], Field(description="Names.")] = []
    place: Annotated[Place | None, Field(description="One place.")] = None
    api_key: Annotated[SecretStr | None, Alias("TEST_API_KEY"), Field(description="A key.")] = None


def run(*argv: str, environ: Mapping[str, str] | None = None) -> Parsed[Settings]:
    given = {"HOME": "/home/nobody", **(environ or {})}
    return parse(Settings, server="test", version="1", description="A test.", argv=argv, environ=given)


def settings(*argv: str, environ: Mapping[str, str] | None = None) -> Settings:
    result = run(*argv, environ=environ).settings
    assert result is not None
    return result


def toml(folder: Path, text: str) -> str:
    path = folder / "test.toml"
    path.write_text(text, encoding="utf-8")
    return f"--config={path}"


TEXT = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1).filter(
    lambda text: bool(text.strip()) and "${" not in text
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "word": TEXT,
    "maybe": TEXT,
    "whole": st.integers(-(2**53), 2**53),
    "evens": st.lists(st.integers(-1000, 1000).map(lambda number: number * 2), min_size=1),
    "share": NUMBER,
    "fast": st.booleans(),
    "folder": TEXT,
    "colour": st.sampled_from(["red", "green"]),
    "names": st.lists(TEXT, min_size=1),
    "places": st.lists(TEXT, min_size=1),
    "place": TEXT,
    "api_key": TEXT,
}


def as_text(value: Any) -> str:
    if isinstance(value, list):
        items = cast("Sequence[Any]", value)
        texts = all(isinstance(item, str) for item in items)
        return json.dumps(items, ensure_ascii=False, separators=(",", ":")) if texts else ",".join(map(str, items))
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # for these types, JSON and TOML write values alike


def test_the_equivalence_below_covers_every_field_of_its_class():
    assert set(VALUES) == set(Settings.model_fields) - set(ServerSettings.model_fields)


@pytest.mark.parametrize("name", VALUES)
def test_flag_variable_and_file_give_the_same_value(name: str, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("equal")

    @hypothesis.settings(deadline=None, max_examples=50)
    @given(VALUES[name])
    def holds(value: Any) -> None:
        flag = settings(f"--{name.replace('_', '-')}={as_text(value)}")
        variable = settings(environ={f"MCP_BULKHEAD_TEST_{name.upper()}": as_text(value)})
        file = settings(toml(folder, f"{name} = {as_toml(value)}"))
        expected = getattr(load(Settings, server="test", **{name: value}), name)
        assert getattr(flag, name) == getattr(variable, name) == getattr(file, name) == expected
        assert not isinstance(value, list) or len(expected) == len(value)  # pyright: ignore[reportUnknownArgumentType]

    holds()


FLAG, ENV, FILE = ["--word=flag"], {"MCP_BULKHEAD_TEST_WORD": "env"}, 'word = "file"'


@pytest.mark.parametrize(
    ("flag", "env", "file", "wins"),
    [
        (f, e, t, next(name for name, there in (("flag", f), ("env", e), ("file", t), ("default", True)) if there))
        for f in (False, True)
        for e in (False, True)
        for t in (False, True)
    ],
)
def test_the_flag_wins_over_the_variable_over_the_file_over_the_default(
    flag: bool, env: bool, file: bool, wins: str, tmp_path: Path
):
    argv = [toml(tmp_path, FILE if file else ""), *(FLAG if flag else [])]
    assert settings(*argv, environ=ENV if env else {}).word == wins


def test_the_file_may_be_named_by_its_variable(tmp_path: Path):
    toml(tmp_path, 'word = "file"')
    assert settings(environ={"MCP_BULKHEAD_TEST_CONFIG": str(tmp_path / "test.toml")}).word == "file"


def test_our_own_variable_wins_over_a_declared_alias():
    both = {"TEST_API_KEY": "theirs", "MCP_BULKHEAD_TEST_API_KEY": "ours"}
    ours, theirs = settings(environ=both).api_key, settings(environ={"TEST_API_KEY": "theirs"}).api_key
    assert ours and theirs
    assert (ours.get_secret_value(), theirs.get_secret_value()) == ("ours", "theirs")


def test_a_secret_file_in_the_environment_wins_over_a_secret_in_the_file(tmp_path: Path):
    (tmp_path / "key").write_text("from-key-file\n")
    config = toml(tmp_path, 'api_key = "from-toml"')
    key = settings(config, environ={"TEST_API_KEY_FILE": str(tmp_path / "key")}).api_key
    assert isinstance(key, FileSecret)
    assert key.get_secret_value() == "from-key-file"


@pytest.mark.parametrize("way", ["--api-key-file={}", "MCP_BULKHEAD_TEST_API_KEY_FILE", "api_key_file"])
def test_a_secret_may_be_in_a_file_named_on_each_of_the_three_ways(way: str, tmp_path: Path):
    path = tmp_path / "key"
    path.write_text("s3cret value\r\n")
    argv = [way.format(path)] if way.startswith("--") else []
    argv += [toml(tmp_path, f"{way} = '{path}'")] if way.islower() and not argv else []
    key = settings(*argv, environ={way: str(path)} if way.isupper() else {}).api_key
    assert key is not None
    assert key.get_secret_value() == "s3cret value"


@pytest.mark.parametrize("text", ["true", "True", "1", "yes", "on"])
def test_a_switch_understands_the_words_clients_write_for_true(text: str):
    assert settings(environ={"MCP_BULKHEAD_TEST_FAST": text}).fast
    assert settings(f"--fast={text}").fast


def test_a_switch_is_turned_off_by_its_no_flag_even_when_the_variable_turns_it_on():
    assert not settings("--no-fast", environ={"MCP_BULKHEAD_TEST_FAST": "true"}).fast
    assert not settings("--fast", "--fast=false").fast


def test_a_switch_does_not_swallow_the_argument_after_it():
    assert settings("--fast", "here").places == (Place("here"),)


@pytest.mark.parametrize("unset", ["", " ", "${user_config.word}", "x-${user_config.word}", "${user_config."])
def test_what_a_client_could_not_fill_in_is_unset_everywhere(unset: str, tmp_path: Path):
    config = toml(tmp_path, f"word = '{unset}'\nmaybe = '{unset}'\nnames = '{unset}'\napi_key = '{unset}'")
    argv = [f"--word={unset}", "--maybe", unset, f"--names={unset}", f"--fast={unset}", unset, "--api-key", unset]
    names = ("WORD", "MAYBE", "NAMES", "FAST", "WHOLE", "PLACES", "CONFIG", "API_KEY", "API_KEY_FILE")
    result = settings(config, *argv, environ={f"MCP_BULKHEAD_TEST_{name}": unset for name in names})
    assert result.model_dump(exclude={"config"}) == settings().model_dump(exclude={"config"})


def test_an_unset_flag_lets_the_variable_speak():
    assert settings("--word=${user_config.word}", environ=ENV).word == "env"


def test_only_the_unfilled_items_of_a_list_are_left_out():
    assert settings("a", "${user_config.more}", "b").places == (Place("a"), Place("b"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ,", ["a", "b"]),
        ("*.{pem,key},id_*", ["*.{pem,key}", "id_*"]),
        ('["a,b","c"]', ["a,b", "c"]),
        ("[abc]*,d", ["[abc]*", "d"]),
        ('["a]*,d"', ['["a]*', 'd"']),
    ],
)
def test_a_list_is_cut_at_its_commas_and_only_there(text: str, expected: list[str]):
    assert settings(f"--names={text}").names == expected
    assert settings(environ={"MCP_BULKHEAD_TEST_NAMES": text}).names == expected


def test_a_list_flag_may_be_repeated_and_an_argument_keeps_its_comma():
    assert settings("--names", "a,b", "--names=c").names == ["a", "b", "c"]
    assert settings("x,y", "--fast", "z").places == (Place("x,y"), Place("z"))


def test_words_after_two_dashes_are_arguments():
    assert settings("--", "--fast", "-x").places == (Place("--fast"), Place("-x"))


def test_an_empty_list_in_the_file_clears_the_default(tmp_path: Path):
    class Denying(ServerSettings):
        deny: Annotated[tuple[str, ...], Field(description="Patterns.")] = ("x",)

    argv = [toml(tmp_path, "deny = []")]
    result = parse(Denying, server="test", version="1", description="", argv=argv, environ={"HOME": "/h"}).settings
    assert result is not None
    assert result.deny == ()


def test_the_arguments_for_a_client_leave_out_actions_and_secrets_and_give_the_same_settings():
    argv = ["a,b", "--print-config", "cursor", "--names", "x,y", "--api-key", "hunter22", "--no-fast", "--", "-b"]
    result = run(*argv)
    assert (result.action, result.argument) == ("print-config", "cursor")
    assert "hunter22" not in " ".join(result.arguments)
    assert result.settings is not None
    assert settings(*result.arguments) == result.settings.model_copy(update={"api_key": None})


def test_each_value_says_where_it_came_from(tmp_path: Path):
    config = toml(tmp_path, '# a comment\nword = "file"\n')
    origins = run(config, "here", "--fast", environ={"TEST_API_KEY": "x"}).origins
    assert origins == {
        "places": "argument PLACE",
        "fast": "--fast",
        "api_key": "TEST_API_KEY (environment)",
        "word": f"word ({tmp_path / 'test.toml'}:2)",
        "config": "--config",
    }


@pytest.mark.parametrize(
    ("argv", "action"),
    [([], "serve"), (["--check"], "check"), (["--demo"], "demo"), (["--version", "--check"], "version")],
)
def test_the_action_is_read_by_the_same_parser(argv: list[str], action: str):
    assert run(*argv).action == action


@pytest.mark.parametrize("argv", [["--demo"], ["--print-config", "zed"]])
def test_the_demo_and_a_printed_config_need_no_required_setting_but_no_wrong_one_either(argv: list[str]):
    class Needy(ServerSettings):
        must: Annotated[str, Field(description="Must be there.")]

    def needy(*more: str) -> Parsed[Needy]:
        return parse(Needy, server="test", version="1", description="", argv=[*argv, *more], environ={"HOME": "/h"})

    assert needy().settings is None
    assert needy("--read-only").given == {"read_only": "true"}
    for wrong in ("--max-concurrency=many", "--nonsense"):
        with pytest.raises(SettingsError, match=wrong.partition("=")[0]):
            needy(wrong)


def test_load_reads_no_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_BULKHEAD_TEST_WORD", "env")
    assert load(Settings, server="test").word == "default"


def test_parse_reads_the_process_environment_when_given_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_BULKHEAD_TEST_WORD", "env")
    result = parse(Settings, server="test", version="1", description="", argv=[]).settings
    assert result is not None
    assert result.word == "env"
