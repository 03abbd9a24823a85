"""--help: the page a person reads before the documentation. Plain text, no colours."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import get_args

from .commandline import ACTION_FLAGS, WITH_ARGUMENT
from .description import SettingInfo, program_of
from .fields import GroupTitle

NARROWEST, WIDEST = 40, 110


def terminal_width() -> int:
    return shutil.get_terminal_size().columns


def help_text(
    infos: Sequence[SettingInfo],
    *,
    server: str,
    version: str,
    description: str,
    examples: Sequence[str],
    width: int,
) -> str:
    page = _Page(program_of(server), max(NARROWEST, min(width, WIDEST)))
    groups = (page.group(title, [info for info in infos if info.group == title]) for title in get_args(GroupTitle))
    return "\n".join(
        chain(
            [f"{page.program} {version}"],
            page.wrapped(description),
            ["", "Usage:", *page.usage(infos)],
            *groups,
            page.actions(),
            page.ways(infos),
            page.examples(infos, examples),
            [""],
        )
    )


class _Page:
    def __init__(self, program: str, width: int) -> None:
        self.program = program
        self._width = width

    def wrapped(self, text: str, indent: str = "") -> list[str]:
        return textwrap.wrap(
            text,
            self._width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,  # a name must stay one word, or it cannot be copied
            break_on_hyphens=False,
        )

    def usage(self, infos: Sequence[SettingInfo]) -> list[str]:
        return self.wrapped(" ".join([self.program, "[OPTIONS]", *_needed(infos)]), "  ")

    def group(self, title: str, infos: Sequence[SettingInfo]) -> Iterator[str]:
        if infos:
            yield from ("", f"{title}:")
        for info in infos:
            yield from self._setting(info)

    def actions(self) -> Iterator[str]:
        yield from ("", "Actions:")
        for flag, meaning in ACTION_FLAGS.items():
            yield f"  {flag} CLIENT" if flag == WITH_ARGUMENT else f"  {flag}"
            yield from self.wrapped(meaning, "      ")

    def ways(self, infos: Sequence[SettingInfo]) -> Iterator[str]:
        yield from ("", "Three ways to give a setting, the first one wins:")
        yield from self.wrapped("a flag; its variable in the environment; its key in the TOML file of --config.", "  ")
        yield from self.wrapped(
            "Keep that file where you like, for example ~/.config/mcp-bulkhead/"
            f"{self.program.removeprefix('mcp-bulkhead-')}.toml; none is read unless named. Its keys are the flags' "
            "names with underscores: read_only = true. Lists are a,b in flags and variables, or "
            '["a","b"] when a value holds a comma.',
            "  ",
        )
        if any(info.secret for info in infos):
            yield from self.wrapped(
                "A secret is best kept in a file of its own (--...-file, ..._FILE, ..._file): a command line is "
                "visible to other processes, and a changed file takes effect without a restart.",
                "  ",
            )

    def examples(self, infos: Sequence[SettingInfo], given: Sequence[str]) -> Iterator[str]:
        yield from ("", "Examples:")
        start = " ".join([self.program, *_needed(infos)])
        for example in given or (start, f"{start} --check", f"{start} --print-config claude-desktop"):
            yield f"  {example}"

    def _setting(self, info: SettingInfo) -> Iterator[str]:
        yield f"  {_flags(info)}"
        text = info.description
        if info.positional:
            text += f" Also given without a flag, as {info.positional}."
        yield from self.wrapped(text, "      ")
        yield from self.wrapped(f"{info.type.capitalize()}; {_default(info)}", "      ")
        for name in (*info.env_names, *info.file_env_names):
            yield f"      env {name}"


def _needed(infos: Sequence[SettingInfo]) -> list[str]:
    """The arguments, and those flags without which the server does not start."""
    flags = [f"{info.flag} {info.metavar}" for info in infos if info.required and not info.positional]
    positional = next((info for info in infos if info.positional), None)
    if positional is None or positional.positional is None:
        return flags
    word = positional.positional + ("..." if positional.multiple else "")
    return [*flags, word if positional.required else f"[{word}]"]


def _default(info: SettingInfo) -> str:
    return "required" if info.required else f"default: {info.default}"


def _flags(info: SettingInfo) -> str:
    if info.boolean:
        return f"{info.flag}, {info.off_flag}"
    flag = f"{info.flag} {info.metavar}{',...' if info.multiple else ''}"
    return f"{flag}, {info.file_flag} FILE" if info.file_flag else flag
