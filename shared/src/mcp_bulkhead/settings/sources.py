"""The three places a setting is given, merged: flag before environment before file.

Each value keeps the name of its place, so that a mistake can be told in the words of whoever made it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import SecretStr

from .commandline import CommandLine
from .description import SettingInfo, env_prefix
from .fields import value_of
from .problems import Given, Problem, unknown
from .secret import FileSecret
from .tomlfile import TomlFile, open_toml


class Source(Protocol):
    """One place where a setting may stand: as itself, or as the path of the file that holds a secret."""

    def literal(self, info: SettingInfo) -> Given | None: ...

    def secret_file(self, info: SettingInfo) -> Given | None: ...


class Gathered:
    """Values by setting name, defaults of this machine, and what was wrong on the way."""

    def __init__(self, values: Mapping[str, Given] | None = None, problems: Sequence[Problem] = ()) -> None:
        self.values = dict(values or {})
        self.defaults: dict[str, Any] = {}
        self.problems = list(problems)


def gather(infos: Sequence[SettingInfo], line: CommandLine, environ: Mapping[str, str], *, server: str) -> Gathered:
    """Read flags, environment and the file that either of them names."""
    gathered = Gathered(problems=[*line.problems, *_unknown_variables(infos, environ, server)])
    ranks = max(len(info.env_names) for info in infos)
    sources: list[Source] = [line, *(Variables(environ, rank) for rank in range(ranks))]
    file = _config_file(infos, sources)
    if isinstance(file, Problem):
        gathered.problems.append(file)
    elif file is not None:
        sources.append(file)
        gathered.problems += file.unknown_keys(infos)
    for info in infos:
        _take_first(info, sources, gathered)
    return gathered


class Variables(NamedTuple):
    """The environment, for one rank of names: ours is the first, then the declared aliases in their order."""

    environ: Mapping[str, str]
    rank: int

    def literal(self, info: SettingInfo) -> Given | None:
        return self._value(info.env_names, multiple=info.multiple)

    def secret_file(self, info: SettingInfo) -> Given | None:
        return self._value(info.file_env_names, multiple=False)

    def _value(self, names: Sequence[str], *, multiple: bool) -> Given | None:
        if self.rank >= len(names):
            return None
        name = names[self.rank]
        value = value_of(self.environ.get(name, ""), multiple=multiple)
        return None if value is None else Given(value, f"{name} (environment)")


def _unknown_variables(infos: Sequence[SettingInfo], environ: Mapping[str, str], server: str) -> list[Problem]:
    prefix = env_prefix(server)
    known = {name: info.name for info in infos for name in (*info.env_names, *info.file_env_names)}
    ours: dict[str, str | None] = {name: setting for name, setting in known.items() if name.startswith(prefix)}
    wrong = [name for name in environ if name.upper().startswith(prefix) and name not in known]
    return [unknown(name, ours, source="environment", prefix=prefix) for name in sorted(wrong)]


def _config_file(infos: Sequence[SettingInfo], sources: Sequence[Source]) -> TomlFile | Problem | None:
    config = next(info for info in infos if info.name == "config")
    given = next((given for source in sources if (given := source.literal(config))), None)
    return None if given is None else open_toml(given)


def _take_first(info: SettingInfo, sources: Sequence[Source], gathered: Gathered) -> None:
    for source in sources:
        literal, file = source.literal(info), source.secret_file(info)
        if literal and file:
            where = f"{literal.origin} and {file.origin}"
            gathered.problems.append(Problem("invalid", where, "both are set.", ("Keep one of them.",), info.name))
        elif file:
            _open_secret(info, file, gathered)
        elif literal:
            masked = info.secret and isinstance(literal.value, str)
            gathered.values[info.name] = literal._replace(value=SecretStr(literal.value)) if masked else literal
        if literal or file:
            return


def _open_secret(info: SettingInfo, file: Given, gathered: Gathered) -> None:
    try:
        secret = FileSecret(Path(str(file.value)).expanduser().absolute())
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except (ValueError, RuntimeError) as error:
        reason = str(error)
    else:
        gathered.values[info.name] = Given(secret, file.origin)
        return
    what = f"the file cannot be used: {reason}."
    fix = "It should name a file that holds only the secret, readable by this user."
    gathered.problems.append(Problem("invalid", file.origin, what, (fix,), info.name))
