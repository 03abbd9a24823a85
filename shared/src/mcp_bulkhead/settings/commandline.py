"""One command line, read into raw values.

Not argparse: it repeats a mistyped option together with its value (which may be a secret), refuses ROOT --flag ROOT,
and cannot tell which word a value came from.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, cast

from .description import SettingInfo
from .fields import is_unset, split
from .problems import Given, Problem, unknown

Action = Literal["serve", "check", "demo", "print-config", "version"]

ACTION_FLAGS: Mapping[str, str] = {
    "--check": "Report whether everything is in place, and exit with 0 or 1.",
    "--demo": "Serve a throw-away world with example data.",
    "--print-config": "Print the configuration for CLIENT, then exit.",
    "--version": "Print the version, then exit.",
    "--help": "Print this text, then exit.",
}
WITH_ARGUMENT = "--print-config"

Role = Literal["value", "on", "off", "secret file", "action"]


class Word(NamedTuple):
    """What was given for one setting: every text in order, and how it was given."""

    origin: str
    texts: list[str]


class CommandLine:
    """What the words say: a source of settings, the actions asked for, and what was wrong.

    `plain` is what a client's configuration may repeat: no action and no secret.
    """

    def __init__(self) -> None:
        self.words: dict[str, Word] = {}
        self.files: dict[str, Word] = {}
        self.actions: list[tuple[str, str | None]] = []
        self.problems: list[Problem] = []
        self.plain: list[str] = []

    def literal(self, info: SettingInfo) -> Given | None:
        word = self.words.get(info.name)
        if word is None or not word.texts:
            return None
        return Given(tuple(word.texts) if info.multiple else word.texts[-1], word.origin)

    def secret_file(self, info: SettingInfo) -> Given | None:
        word = self.files.get(info.name)
        return Given(word.texts[-1], word.origin) if word else None

    @property
    def helps(self) -> bool:
        return any(flag == "--help" for flag, _ in self.actions)

    def action(self) -> tuple[Action, str | None]:
        chosen = dict(self.actions)
        if len(chosen) > 1 and "--version" not in chosen:
            names = " and ".join(chosen)
            self.problems.append(Problem("invalid", names, "only one of these can be done at a time."))
        flag = "--version" if "--version" in chosen else next(iter(chosen), "--serve")
        return cast("Action", flag.removeprefix("--")), chosen.get(flag)


def read_command_line(argv: Sequence[str], infos: Sequence[SettingInfo]) -> CommandLine:
    return _Reader(argv, infos).read()


class _Reader:
    def __init__(self, argv: Sequence[str], infos: Sequence[SettingInfo]) -> None:
        self._pending = deque(argv)
        self._flags = _flags(infos)
        self._positional = next((info for info in infos if info.positional), None)
        self._line = CommandLine()
        self._unclaimed = 0

    def read(self) -> CommandLine:
        while self._pending:
            token = self._pending.popleft()
            if token == "--":  # noqa: S105 - the end of options, not a password
                self._rest()
            elif token.startswith("-") and token != "-":  # noqa: S105 - a word that may be a file name
                self._option(token)
            else:
                self._argument(token)
        self._check_arguments()
        return self._line

    def _rest(self) -> None:
        if self._pending:
            self._line.plain.append("--")
        while self._pending:
            self._argument(self._pending.popleft())

    def _argument(self, token: str) -> None:
        info = self._positional
        if info is None:
            self._unclaimed += 1
        elif not is_unset(token):
            # Not split at commas: the shell has already separated the arguments.
            self._line.words.setdefault(info.name, Word(f"argument {info.positional}", [])).texts.append(token)
            self._line.plain.append(token)

    def _option(self, token: str) -> None:
        flag, equals, text = token.partition("=")
        flag = "--help" if flag == "-h" else flag
        if flag not in self._flags:
            self._line.problems.append(self._unknown(flag))
            return
        info, role = self._flags[flag]
        if role == "action":
            self._line.actions.append((flag, self._value(flag, equals, text) if flag == WITH_ARGUMENT else None))
        elif info is not None and role in ("on", "off"):
            self._switch(flag, info, text if equals else None, role == "on")
        elif info is not None:
            self._take(flag, info, self._value(flag, equals, text), role)

    def _unknown(self, flag: str) -> Problem:
        """Only a name is repeated: `-phunter2` and `--api-key:hunter2` hold a value."""
        named = re.match(r"--?[A-Za-z][\w-]*", flag)
        if named and named[0] in self._flags:
            return Problem("invalid", named[0], "the value should follow after a space or an equals sign.")
        names = {known: info.name if info else None for known, (info, _) in self._flags.items()}
        problem = unknown(named[0] if named else "an option", names, source="command line")
        bundled = not flag.startswith("--") and not problem.fixes
        return problem._replace(where=f"{flag[:2]} (command line)") if bundled else problem

    def _switch(self, flag: str, info: SettingInfo, text: str | None, on: bool) -> None:
        if text is not None and not on:
            problem = Problem("invalid", flag, "takes no value.", (f"Write {info.flag}=true or {info.flag}=false.",))
            self._line.problems.append(problem)
        elif text is None or not is_unset(text):
            self._line.words[info.name] = Word(flag, [text or str(on).lower()])
            self._line.plain.append(flag if text is None else f"{flag}={text}")

    def _take(self, flag: str, info: SettingInfo, text: str | None, role: Role) -> None:
        if text is None or is_unset(text):
            return
        if role == "secret file":
            self._line.files[info.name] = Word(flag, [text])
            self._line.plain.append(f"{flag}={text}")
        elif info.secret:
            self._line.words[info.name] = Word(flag, [text])
        else:
            word = self._line.words.setdefault(info.name, Word(flag, []))
            word.texts.extend(split(text) if info.multiple else [text])
            self._line.plain.append(f"{flag}={text}")

    def _value(self, flag: str, equals: str, text: str) -> str | None:
        if equals:
            return text
        if self._pending and not self._pending[0].startswith("--"):
            return self._pending.popleft()
        fix = f"Write {flag}=VALUE when the value itself begins with two dashes." if self._pending else None
        info, _ = self._flags[flag]
        problem = Problem("invalid", flag, "needs a value.", (fix,) if fix else (), info.name if info else None)
        self._line.problems.append(problem)
        return None

    def _check_arguments(self) -> None:
        unknown_flag = any(problem.kind == "unknown" for problem in self._line.problems)
        # Beside a mistyped option, a loose word is most likely that option's value: one complaint is enough.
        if self._unclaimed and not unknown_flag:
            what = "this server takes none; every setting has a flag."
            self._line.problems.append(Problem("invalid", f"{self._unclaimed} argument(s) without a flag", what))
        word = self._line.words.get(self._positional.name) if self._positional else None
        if word and self._positional and not self._positional.multiple and len(word.texts) > 1:
            what = f"one is expected, {len(word.texts)} were given."
            self._line.problems.append(Problem("invalid", word.origin, what, (), self._positional.name))


def _flags(infos: Sequence[SettingInfo]) -> dict[str, tuple[SettingInfo | None, Role]]:
    flags: dict[str, tuple[SettingInfo | None, Role]] = dict.fromkeys(ACTION_FLAGS, (None, "action"))
    for info in infos:
        flags[info.flag] = (info, "on" if info.boolean else "value")
        if info.off_flag:
            flags[info.off_flag] = (info, "off")
        if info.file_flag:
            flags[info.file_flag] = (info, "secret file")
    return flags
