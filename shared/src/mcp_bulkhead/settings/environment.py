"""The only module of the library that reads the process environment, and only inside functions."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

STATE_FOLDER = "mcp-bulkhead"


def process_environment() -> Mapping[str, str]:
    """A copy, so that one start sees one environment from beginning to end."""
    return dict(os.environ)


def default_state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Where this user's programs keep state. Raises RuntimeError for a user without a home folder."""
    given = process_environment() if environ is None else environ
    if sys.platform == "win32":
        local = given.get("LOCALAPPDATA")
        return (Path(local) if local else _home(given) / "AppData" / "Local") / STATE_FOLDER
    if sys.platform == "darwin":
        return _home(given) / "Library" / "Application Support" / STATE_FOLDER
    state = Path(given.get("XDG_STATE_HOME", ""))
    # The XDG specification: a relative path is invalid and must be ignored.
    return (state if state.is_absolute() else _home(given) / ".local" / "state") / STATE_FOLDER


def _home(given: Mapping[str, str]) -> Path:
    home = given.get("HOME", "")
    return Path(home) if Path(home).is_absolute() else Path.home()
