"""The file of --config, and where in it each key stands."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .description import SettingInfo
from .fields import value_of
from .problems import Given, Problem, unknown

NOT_IN_FILE = "config"
"""A file cannot name another file."""


class TomlFile(NamedTuple):
    path: Path
    text: str
    content: Mapping[str, Any]

    def literal(self, info: SettingInfo) -> Given | None:
        return self._value(info.key, multiple=info.multiple)

    def secret_file(self, info: SettingInfo) -> Given | None:
        return self._value(info.file_key, multiple=False)

    def unknown_keys(self, infos: Sequence[SettingInfo]) -> list[Problem]:
        known: dict[str, str | None] = {
            key: info.name for info in infos for key in (info.key, info.file_key) if key and key != NOT_IN_FILE
        }
        return [unknown(key, known, source=self._place(key)) for key in self.content if key not in known]

    def _value(self, key: str | None, *, multiple: bool) -> Given | None:
        if key is None or key not in self.content:
            return None
        value = self.content[key]
        value = value_of(value, multiple=multiple) if isinstance(value, str) else value
        return None if value is None else Given(value, f"{key} ({self._place(key)})")

    def _place(self, key: str) -> str:
        """`file:line`, as far as a plain look at the text can tell."""
        pattern = rf"^[ \t]*\[{{0,2}}[\"']?{re.escape(key)}[\"']?[ \t]*[=.\]]"
        found = re.search(pattern, self.text, re.MULTILINE)
        return f"{self.path}:{self.text.count(chr(10), 0, found.start()) + 1}" if found else str(self.path)


def open_toml(config: Given) -> TomlFile | Problem:
    """The file that --config or its variable names, or why it cannot be used."""
    import tomllib

    path = Path(str(config.value))
    try:
        path = path.expanduser().absolute()
        text = path.read_text(encoding="utf-8-sig")
        return TomlFile(path, text, tomllib.loads(text))
    except OSError as error:
        reason = f"cannot be read: {error.strerror or type(error).__name__}"
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        reason = f"is not TOML: {error}"
    except (ValueError, RuntimeError):
        reason = "cannot be used"
    return Problem("invalid", config.origin, f"the file {path} {reason}.", setting="config")
