"""From a command line to validated settings, or to one error that says everything that is wrong."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from ..errors import Failure
from .base import ServerSettings
from .commandline import Action, read_command_line
from .description import SettingInfo, describe, program_of
from .environment import default_state_dir, process_environment
from .problems import Given, Problem, SettingsError, unknown
from .sources import Gathered, gather

S = TypeVar("S", bound=ServerSettings)

NEEDS_NO_SETTINGS: frozenset[Action] = frozenset({"demo", "print-config", "version"})
"""These work without the required settings; what was given must still be right."""


class Parsed(NamedTuple, Generic[S]):
    """What to do, and with which settings.

    `settings` is None for --version, and for --demo and --print-config when a required one was not given.
    `given` has what was given by setting name (secrets masked), `origins` where each came from, and `arguments`
    the command line without actions and secrets: what a client's configuration may repeat.
    """

    settings: S | None
    action: Action
    argument: str | None
    given: Mapping[str, Any]
    origins: Mapping[str, str]
    arguments: tuple[str, ...]


def parse(
    cls: type[S],
    *,
    server: str,
    version: str,
    description: str,
    argv: Sequence[str],
    environ: Mapping[str, str] | None = None,
    examples: Sequence[str] = (),
) -> Parsed[S]:
    """Read flags, environment and file. Raises SettingsError; prints nothing, except --help, which exits with 0."""
    given_environ = process_environment() if environ is None else environ
    infos = describe(cls, server)
    line = read_command_line(argv, infos)
    if line.helps:
        _print_help(infos, server=server, version=version, description=description, examples=examples)
    action, argument = line.action()
    if action == "version":
        return Parsed(None, action, None, {}, {}, ())
    gathered = gather(infos, line, given_environ, server=server)
    _add_state_dir(gathered, given_environ)
    settings, problems = _validate(cls, gathered, infos, server)
    if action in NEEDS_NO_SETTINGS:
        problems = [problem for problem in problems if problem.kind != "missing"]
    if problems:
        raise SettingsError(program_of(server), problems, conceal=_secrets(gathered))
    return Parsed(
        settings,
        action,
        argument,
        given={name: one.value for name, one in gathered.values.items()},
        origins={name: one.origin for name, one in gathered.values.items()},
        arguments=tuple(line.plain),
    )


def load(cls: type[S], /, *, server: str, **overrides: Any) -> S:
    """Settings from Python values alone, for tests and embedding: no flag, no variable and no file is read."""
    infos = describe(cls, server)
    known: dict[str, str | None] = {info.name: info.name for info in infos}
    gathered = Gathered({name: Given(value, name) for name, value in overrides.items() if name in known})
    gathered.problems += [unknown(name, known, source="argument of load()") for name in overrides if name not in known]
    settings, problems = _validate(cls, gathered, infos, server)
    if settings is None or problems:
        raise SettingsError(program_of(server), problems, conceal=_secrets(gathered))
    return settings


def _validate(
    cls: type[S], gathered: Gathered, infos: Sequence[SettingInfo], server: str
) -> tuple[S | None, list[Problem]]:
    """A setting that was given wrongly has been complained about once; it is not also reported as missing."""
    values = {**gathered.defaults, **{name: one.value for name, one in gathered.values.items()}}
    by_name = {info.name: info for info in infos}
    try:
        return cls.model_validate(values, context={"server": server}), gathered.problems
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        found = [one for one in (_problem(detail, gathered, by_name, server) for detail in details) if one]
    except Failure as failure:
        fixes = (failure.hint,) if failure.hint else ()
        found = [Problem("invalid", "settings", failure.message, fixes)]
    return None, [*gathered.problems, *found]


def _problem(detail: ErrorDetails, gathered: Gathered, infos: Mapping[str, SettingInfo], server: str) -> Problem | None:
    info = infos.get(str(detail["loc"][0])) if detail["loc"] else None
    if info is None:
        return Problem("invalid", "settings", _sentence(detail))
    if detail["type"] == "missing" and len(detail["loc"]) == 1:
        complained = {problem.setting for problem in gathered.problems}
        return None if complained & {info.name, "config"} else _missing(info, server)
    one = gathered.values.get(info.name)
    index = detail["loc"][1] if len(detail["loc"]) > 1 else None
    where = (one.origin if one else info.name) + (f", item {index + 1}" if isinstance(index, int) else "")
    fixes = (f"Expected: {info.type}. {info.description}",)
    # Of a secret not even the length is told, and a server's own check may have put the value into its message.
    what = "this secret is not acceptable." if info.secret else _sentence(detail)
    return Problem("invalid", where, what, fixes, info.name)


def _sentence(detail: ErrorDetails) -> str:
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text.removeprefix("Input ").rstrip(".") + "."


def _missing(info: SettingInfo, server: str) -> Problem:
    return Problem("missing", info.name, "required, and not given.", _ways(info, server), info.name)


def _ways(info: SettingInfo, server: str) -> tuple[str, ...]:
    sample = {"boolean": "true", "number": "1"}.get(info.form, '"..."')
    ways = [info.description]
    if info.positional:
        ways.append(f"argument:     {program_of(server)} {info.positional}")
    ways.append(f"flag:         {info.flag} {info.metavar}")
    ways += [f"environment:  {name}=..." for name in (*info.env_names, *info.file_env_names)]
    ways.append(f"TOML file:    {info.key} = {f'[{sample}]' if info.multiple else sample}   (the file of --config)")
    ways.append(
        'Many clients start servers with an almost empty environment: set variables in the client\'s own "env".'
    )
    return tuple(ways)


def _add_state_dir(gathered: Gathered, environ: Mapping[str, str]) -> None:
    if "state_dir" in gathered.values:
        return
    try:
        gathered.defaults["state_dir"] = default_state_dir(environ)
    except RuntimeError:
        fix = "This user has no home folder: name a folder with --state-dir."
        gathered.problems.append(Problem("invalid", "state_dir", "there is no default here.", (fix,), "state_dir"))


def _secrets(gathered: Gathered) -> list[str]:
    values = (one.value for one in gathered.values.values())
    return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]


def _print_help(
    infos: Sequence[SettingInfo], *, server: str, version: str, description: str, examples: Sequence[str]
) -> None:
    from .help import help_text, terminal_width

    text = help_text(
        infos, server=server, version=version, description=description, examples=examples, width=terminal_width()
    )
    sys.stdout.write(text)
    raise SystemExit(0)
