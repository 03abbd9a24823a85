"""Which folders may be used, and how much of them one call may see."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mcp_bulkhead.guards.deny import DEFAULT_DENY
from mcp_bulkhead.settings import Kind, Positional, ServerSettings

MODES: Mapping[str, bool] = {":ro": False, ":rw": True}


@dataclass(frozen=True, slots=True)
class Root:
    """A folder the operator opens, for reading unless `:rw` is said."""

    path: str
    writable: bool = False

    def __str__(self) -> str:
        return f"{self.path}:{'rw' if self.writable else 'ro'}"


def as_root(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    mode = given[-3:]
    path = given[:-3] if mode in MODES else given
    if not path or "\0" in path:
        raise ValueError("should be a folder, for example ~/notes or ~/notes:ro")
    try:
        return Root(str(Path(path).expanduser().absolute()), MODES.get(mode, False))
    except RuntimeError as error:
        raise ValueError("`~` stands for a home folder, and this user has none") from error


class Settings(ServerSettings):
    """Which folders may be used, and what may be seen of them."""

    roots: Annotated[
        tuple[Annotated[Root, BeforeValidator(as_root)], ...],
        Positional("ROOT[:ro|:rw]"),
        Kind("directory"),
        Field(min_length=1, description="Folders the model may use, for reading only unless `:rw` is added."),
    ]
    deny: Annotated[
        tuple[str, ...],
        Field(description="Globs of files nobody may read, wherever links lead; replaces the built-in list."),
    ] = DEFAULT_DENY.patterns
    follow_links: Annotated[
        bool, Field(description="Follow links whose target is inside the same root; links that lead out never are.")
    ] = True
    gitignore: Annotated[bool, Field(description="Leave out of listings and searches what .gitignore leaves out.")] = (
        True
    )
    search_s: Annotated[
        float,
        # Some agent frameworks give up on any call after 5 seconds.
        Field(gt=0, le=300, description="Seconds after which a search answers with what it has and a cursor."),
    ] = 4.0
    media_bytes: Annotated[
        int, Field(ge=0, le=20_000_000, description="The largest image or sound returned as such.")
    ] = 5_000_000
