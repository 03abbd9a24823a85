"""What a server can be told: one described field each, given as flag, environment variable or TOML key.

`environment.py` is the only module here that reads the process environment.
"""

from .base import Address, Folder, LogLevel, ServerSettings, UserPath
from .commandline import ACTION_FLAGS, Action
from .description import SettingInfo, describe, env_prefix, program_of
from .environment import default_state_dir
from .fields import Alias, DefaultShown, Group, Kind, Metavar, Positional
from .loading import Parsed, load, parse
from .problems import Problem, SettingsError
from .secret import FileSecret, secret_value

__all__ = [
    "ACTION_FLAGS",
    "Action",
    "Address",
    "Alias",
    "DefaultShown",
    "FileSecret",
    "Folder",
    "Group",
    "Kind",
    "LogLevel",
    "Metavar",
    "Parsed",
    "Positional",
    "Problem",
    "ServerSettings",
    "SettingInfo",
    "SettingsError",
    "UserPath",
    "default_state_dir",
    "describe",
    "env_prefix",
    "load",
    "parse",
    "program_of",
    "secret_value",
]
