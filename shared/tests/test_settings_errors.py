"""What a person reads when a setting is wrong: what, where, the fix, and never a secret."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, SecretStr, model_validator

from mcp_bulkhead.errors import Invalid, OutsideRoot
from mcp_bulkhead.settings import (
    ACTION_FLAGS,
    Alias,
    Positional,
    ServerSettings,
    SettingsError,
    describe,
    load,
    parse,
)


def talkative(key: SecretStr) -> SecretStr:
    if not key.get_secret_value().startswith("key-"):
        raise ValueError(f"{key.get_secret_value()!r} does not begin with key-")
    return key


def fenced(name: str) -> str:
    if name == "outside":
        raise OutsideRoot("That folder may not be opened.", hint="Name another one.")
    return name


class Settings(ServerSettings):
    roots: Annotated[tuple[str, ...], Positional("ROOT"), Field(min_length=1, description="Folders to open.")]
    protected_branches: Annotated[tuple[str, ...], Field(description="Branches nobody may rewrite.")] = ()
    numbers: Annotated[tuple[int, ...], Field(description="Numbers.")] = ()
    home: Annotated[str, AfterValidator(fenced), Field(description="A home.")] = ""
    api_key: Annotated[SecretStr | None, Alias("TEST_API_KEY"), Field(min_length=8, description="The key.")] = None
    other_key: Annotated[Annotated[SecretStr, AfterValidator(talkative)] | None, Field(description="Another key.")] = (
        None
    )

    @model_validator(mode="after")
    def _talk(self) -> "Settings":
        if self.protected_branches == ("leak",) and self.api_key:
            raise ValueError(f"these do not go together: {self.api_key.get_secret_value()}")
        return self


unhurried = settings(deadline=None, max_examples=50)
"""A loaded machine is no failure."""

INFOS = describe(Settings, "test")
FLAGS = [flag for info in INFOS for flag in (info.flag, info.off_flag, info.file_flag) if flag] + list(ACTION_FLAGS)
VARIABLES = [name for info in INFOS for name in (info.env, *info.file_env_names) if name.startswith("MCP_BULKHEAD_")]
KEYS = [key for info in INFOS for key in (info.key, info.file_key) if key and key != "config"]


def message(*argv: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(
            Settings,
            server="test",
            version="1",
            description="",
            argv=argv,
            environ={"HOME": "/home/nobody", **(environ or {})},
        )
    assert caught.value.__context__ is None, "a chained error would print pydantic's text, values and all"
    assert isinstance(caught.value, Invalid)
    assert caught.value.as_dict()["code"] == "invalid_settings"
    return caught.value.message


def toml(folder: Path, text: str) -> str:
    path = folder / "test.toml"
    path.write_text(text, encoding="utf-8")
    return f"--config={path}"


@st.composite
def mistyped(draw: st.DrawFn, names: list[str], fixed: int = 0) -> tuple[str, str]:
    """A right name, and the same with one letter dropped, doubled or swapped with the next."""
    name = draw(st.sampled_from(names))
    at = draw(st.integers(min_value=fixed, max_value=len(name) - 2))
    how = draw(st.sampled_from(["drop", "double", "swap"]))
    wrong = {
        "drop": name[:at] + name[at + 1 :],
        "double": name[: at + 1] + name[at:],
        "swap": name[:at] + name[at + 1] + name[at] + name[at + 2 :],
    }[how]
    assume(wrong not in names)
    return name, wrong


@unhurried
@given(mistyped(FLAGS, fixed=2))
def test_a_mistyped_flag_is_answered_with_the_right_one(names: tuple[str, str]):
    right, wrong = names
    text = message("/data", f"{wrong}=hunter22")
    assert f"{wrong} (command line): no such setting.\n      Did you mean {right}?" in text
    assert "hunter22" not in text


@unhurried
@given(mistyped(VARIABLES, fixed=len("MCP_BULKHEAD_TEST_")))
def test_a_mistyped_variable_is_answered_with_the_right_one(names: tuple[str, str]):
    right, wrong = names
    text = message("/data", environ={wrong: "hunter22"})
    assert f"{wrong} (environment): no such setting.\n      Did you mean {right}?" in text
    assert "hunter22" not in text


def test_a_mistyped_key_is_answered_with_the_right_one_and_its_line(tmp_path: Path):
    @unhurried
    @given(mistyped(KEYS))
    def holds(names: tuple[str, str]) -> None:
        right, wrong = names
        text = message("/data", toml(tmp_path, f'# settings\n{wrong} = "hunter22"'))
        place = f"{tmp_path / 'test.toml'}:2"
        assert f"{wrong} ({place}): no such setting.\n      Did you mean {right}?" in text
        assert "hunter22" not in text

    holds()


@pytest.mark.parametrize(
    ("argv", "right"),
    [
        (["--protected_branches", "x"], "--protected-branches"),
        (["-read-only"], "--read-only"),
        (["--READ-ONLY"], "--read-only"),
    ],
)
def test_a_flag_in_another_spelling_is_recognised(argv: list[str], right: str):
    assert f"Did you mean {right}?" in message("/data", *argv)


def test_a_variable_in_small_letters_and_a_key_with_dashes_are_recognised(tmp_path: Path):
    assert "Did you mean MCP_BULKHEAD_TEST_READ_ONLY?" in message("/d", environ={"mcp_bulkhead_test_read_only": "1"})
    assert "Did you mean read_only?" in message("/d", toml(tmp_path, "read-only = true"))
    assert f"{tmp_path / 'test.toml'}:2" in message("/d", toml(tmp_path, "\n[limits]\nx = 1"))


def test_variables_of_other_servers_are_none_of_our_business():
    environ = {"HOME": "/h", "MCP_BULKHEAD_OTHER_X": "1", "MCP_BULKHEAD_TESTX": "1"}
    parse(Settings, server="test", version="1", description="", argv=["/data"], environ=environ)


def test_a_missing_required_setting_is_named_with_every_way_to_give_it():
    text = message()
    ways = ["mcp-bulkhead-test ROOT", "--roots ROOT", "MCP_BULKHEAD_TEST_ROOTS=", 'roots = ["..."]', "Folders to open."]
    assert [way for way in ways if way not in text] == []
    assert "almost empty environment" in text


def test_a_mistyped_required_setting_is_one_complaint_and_not_two():
    assert "1 setting needs attention" in message("--rots=/data")


def test_everything_that_is_wrong_is_said_at_once():
    text = message("--max-concurrency=many", "--log-level=loud", "--nonsense", environ={"MCP_BULKHEAD_TEST_HTTP": "9"})
    found = ["--max-concurrency: ", "--log-level: ", "--nonsense ", "MCP_BULKHEAD_TEST_HTTP (environment): ", "roots: "]
    assert [part for part in found if part not in text] == []
    assert "5 settings need attention" in text


def test_a_wrong_item_of_a_list_is_counted_from_one(tmp_path: Path):
    assert "--numbers, item 2: should be a valid integer" in message("/data", "--numbers=1,two")
    assert "test.toml:1), item 2: should be" in message("/data", toml(tmp_path, "numbers = [1, 'two']"))


def test_a_failure_raised_by_a_server_s_own_type_is_told_with_its_hint():
    text = message("/data", "--home=outside")
    assert "That folder may not be opened." in text
    assert "Name another one." in text


SECRETS = st.text(st.characters(categories=["L", "N"]), min_size=4).map(lambda text: f"S{text}S")


@pytest.mark.parametrize(
    "argv",
    [
        ["--api-keyy", "{}"],
        ["--api-keyy={}"],
        ["--api-key:{}"],
        ["--api-key={}", "--max-concurrency=x"],
        ["--other-key", "{}"],
        ["--other-key={}", "--protected-branches=leak"],
        ["--api-key=12345678{}", "--protected-branches=leak"],
        ["--nonsense={}"],
        ["--api-key={}", "--api-key-file=/nowhere/at/all"],
        ["--max-concurrency={}"],
        ["--http={}"],
        ["--log-level={}"],
        ["--check={}", "--demo"],
        ["--no-audit={}"],
    ],
)
@unhurried
@given(secret=SECRETS)
def test_no_error_about_the_command_line_repeats_a_value(argv: list[str], secret: str):
    assert secret not in message("/data", *(word.format(secret) for word in argv))


def test_a_bundle_of_short_options_is_not_repeated():
    assert "hunter" not in message("/data", "-phunter22")


@unhurried
@given(secret=SECRETS)
def test_no_error_about_a_variable_repeats_a_value(secret: str):
    name = "MCP_BULKHEAD_TEST_{}".format
    assert secret not in message("/data", environ={name("OTHER_KEY"): secret})
    assert secret not in message("/data", environ={name("API_KEYS"): secret, name("DEADLINE_S"): secret})
    assert secret not in message("/data", environ={"TEST_API_KEY": secret, "TEST_API_KEY_FILE": "/nowhere"})


WORDS = st.one_of(
    st.sampled_from(
        [*FLAGS, "--", "-", "--=", "-h=", "--read-only=", "/data", "${user_config.x}", '["a"]', '["', "[{},"]
    ),
    st.text(max_size=8),
    st.builds("{}={}".format, st.sampled_from(FLAGS), st.text(max_size=8)),
)


@unhurried
@given(
    st.lists(WORDS, max_size=6).filter(lambda argv: not {"-h", "--help"} & {word.partition("=")[0] for word in argv}),
    st.dictionaries(st.sampled_from([*VARIABLES, "TEST_API_KEY"]), st.text(max_size=8), max_size=3),
)
def test_whatever_is_given_ends_in_settings_or_in_one_error(argv: list[str], environ: dict[str, str]):
    try:
        parsed = parse(
            Settings, server="test", version="1", description="", argv=argv, environ={"HOME": "/h", **environ}
        )
    except SettingsError as error:
        assert error.problems
    else:
        assert parsed.settings is not None or parsed.action in ("version", "demo", "print-config")


def test_whatever_a_file_holds_ends_in_settings_or_in_one_error(tmp_path: Path):
    @unhurried
    @given(st.one_of(st.text(max_size=40), st.builds("{} = {}".format, st.sampled_from(KEYS), st.text(max_size=8))))
    def holds(text: str) -> None:
        (tmp_path / "test.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
        argv = ["/data", f"--config={tmp_path / 'test.toml'}"]
        try:
            parse(Settings, server="test", version="1", description="", argv=argv, environ={"HOME": "/h"})
        except SettingsError as error:
            assert error.problems

    holds()


@pytest.mark.parametrize("text", ["short", "\ud800\ud800\ud800"])
def test_a_short_secret_is_refused_without_its_length(text: str):
    refusal = message("/data", f"--api-key={text}")
    assert "--api-key: this secret is not acceptable.\n      Expected: secret text, at least 8 characters." in refusal
    assert text not in refusal
    assert str(len(text)) not in refusal.replace("1 setting", "")


def test_a_secret_of_the_wrong_kind_in_the_file_is_not_repeated(tmp_path: Path):
    assert "918273645" not in message("/data", toml(tmp_path, "api_key = 918273645"))
    assert "hunter22" not in message("/data", toml(tmp_path, "api_key = ['hunter22']"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfehunter22", "not UTF-8"),
        (b"x" * 70_000, "larger"),
    ],
)
def test_a_secret_s_file_that_cannot_be_used_is_named_with_the_reason(
    content: bytes | None, reason: str, tmp_path: Path
):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    text = message("/data", environ={"TEST_API_KEY_FILE": str(tmp_path / "key")})
    assert "TEST_API_KEY_FILE (environment): the file cannot be used: " in text
    assert reason in text
    assert "hunter22" not in text


def test_a_secret_given_twice_at_one_place_is_a_question(tmp_path: Path):
    (tmp_path / "key").write_text("hunter22")
    text = message("/data", environ={"TEST_API_KEY": "hunter22", "TEST_API_KEY_FILE": str(tmp_path / "key")})
    assert "TEST_API_KEY (environment) and TEST_API_KEY_FILE (environment): both are set." in text
    assert "hunter22" not in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"a = ", "is not TOML"), (b"\xff", "not UTF-8"), (None, "cannot be read: No such file")],
)
def test_a_config_file_that_cannot_be_read_is_the_only_complaint(content: bytes | None, reason: str, tmp_path: Path):
    path = tmp_path / "test.toml"
    if content is not None:
        path.write_bytes(content)
    text = message(f"--config={path}")
    assert reason in text
    assert str(path) in text
    assert "1 setting needs attention" in text


def test_a_config_file_cannot_name_another(tmp_path: Path):
    assert "config (" in message("/data", toml(tmp_path, "config = 'other.toml'"))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--home"], "--home: needs a value."),
        (["--home", "--read-only"], "Write --home=VALUE when the value itself begins with two dashes."),
        (["--no-read-only=true"], "Write --read-only=true or --read-only=false."),
        (["--check", "--demo"], "--check and --demo: only one of these can be done at a time."),
        (["--print-config"], "--print-config: needs a value."),
        (["--deadline-s=nan"], "--deadline-s: should be a finite number."),
        (["--max-result-tokens=9000", "--hard-result-tokens=8000"], "may not be more than hard_result_tokens"),
        (["--tenant=a b"], "--tenant: "),
    ],
)
def test_a_wrong_use_is_answered_with_the_right_one(argv: list[str], said: str):
    assert said in message("/data", *argv)


@pytest.mark.parametrize(
    "text", ["8000", ":8000", "localhost", "localhost:", "localhost:x", "::1:80", "h:65536", "[h]:1"]
)
def test_an_address_that_is_none_is_refused_with_an_example(text: str):
    assert "127.0.0.1:8000" in message("/data", f"--http={text}")


def test_a_server_without_arguments_says_so_and_one_with_a_single_argument_counts():
    class Plain(ServerSettings):
        pass

    class Single(ServerSettings):
        place: Annotated[str, Positional("PLACE"), Field(description="One place.")]

    def complaint(cls: type[ServerSettings]) -> str:
        with pytest.raises(SettingsError) as caught:
            parse(cls, server="test", version="1", description="", argv=["a", "b"], environ={"HOME": "/h"})
        return caught.value.message

    assert "2 argument(s) without a flag: this server takes none" in complaint(Plain)
    assert "argument PLACE: one is expected, 2 were given." in complaint(Single)


def test_control_characters_and_lone_surrogates_never_reach_the_terminal():
    text = message("/data", environ={"MCP_BULKHEAD_TEST_\x1b[31m\udcff": "1"})
    assert all(char.isprintable() or char == "\n" for char in text)
    text.encode("utf-8")


def test_load_names_the_nearest_setting_too():
    with pytest.raises(SettingsError, match="Did you mean protected_branches"):
        load(Settings, server="test", roots=("/data",), protected_branch=("main",))
    with pytest.raises(SettingsError, match="roots: required"):
        load(Settings, server="test")
