"""How a server is started on this machine: its command in full, and its arguments as they mean something anywhere."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ..settings import SettingInfo
from ..spec import ServerSpec

PLACE: Final = "/absolute/path/to/folder"
"""What generated documentation shows where a person names a folder."""
CREDENTIALS: Final = "://YOUR_USER:YOUR_PASSWORD@"
IN_URL: Final = re.compile(r"://(?:[^\s/?#]*|[^\s/?#:]*:(?!\d*/)[^\s@]*)@")
"""A password may hold a slash that nobody escaped; digits before a slash are a port."""


def runnable(spec: ServerSpec) -> tuple[str, list[str]]:
    """What starts this installation whatever PATH a client has: the console script by its full path, or the module."""
    here = Path(sys.executable).parent
    for script in (here / spec.command, here / f"{spec.command}.exe"):
        if script.is_file():
            return str(script), []
    return sys.executable, ["-m", spec.module]


def completed(args: Sequence[str], infos: Sequence[SettingInfo]) -> tuple[list[str], dict[str, str]]:
    """`args`, and a stand-in for each required setting that they leave out."""
    args, env = list(args), dict[str, str]()
    for info in infos:
        if not info.required or named_in(args, info, infos):
            continue
        if info.positional:
            args.append(stand_in(info))
        else:
            env[info.env] = stand_in(info)
    return args, env


def named_in(args: Sequence[str], info: SettingInfo, infos: Sequence[SettingInfo]) -> bool:
    return any(each.name == info.name for each, _, _ in read_values(args, infos) if each is not None)


def stand_in(info: SettingInfo) -> str:
    if info.form in ("directory", "file"):
        return PLACE
    return f"YOUR_{info.name.upper()}"


def absolute_arguments(args: Sequence[str], infos: Sequence[SettingInfo], here: Path) -> list[str]:
    """`args` with relative folders and files made absolute: a client starts servers in a folder of its own choice."""
    written: list[str] = []
    for info, flag, value in read_values(args, infos):
        if value is None:
            written.append(flag)
            continue
        shown = absolute(value, here) if info is not None and info.form in ("directory", "file") else value
        written += [f"{flag}={shown}"] if flag.startswith("--") else [shown]
    return written


def read_values(
    args: Sequence[str], infos: Sequence[SettingInfo]
) -> Iterator[tuple[SettingInfo | None, str, str | None]]:
    """Setting, flag and value of each argument; no flag for what stands without one, no value for a switch."""
    flags = {info.flag: info for info in infos}
    positional = next((info for info in infos if info.positional), None)
    pending = iter(args)
    for token in pending:
        name, equals, value = token.partition("=")
        info = flags.get(name)
        if token == "--":  # noqa: S105 - the end of options
            yield None, token, None
            yield from ((positional, "", rest) for rest in pending)
        elif not token.startswith("-"):
            yield positional, "", token
        elif equals or info is None or info.boolean:
            yield info, name, value if equals else None
        else:
            yield info, name, next(pending, None)


def without_credentials(args: Sequence[str]) -> list[str]:
    """`args` with what stands for user and password inside a URL replaced: configuration is pasted and shared."""
    return [IN_URL.sub(CREDENTIALS, text) for text in args]


def absolute(text: str, here: Path) -> str:
    """`text` as it is read here, also with a mode such as `:rw` behind it; what does not exist here is left alone."""
    if Path(text).is_absolute() or text.startswith("~"):
        return text
    bare, _, mode = text.rpartition(":")
    if bare and not (here / text).exists() and (here / bare).exists():
        return f"{here / bare}:{mode}"
    return str(here / text) if (here / text).exists() else text
