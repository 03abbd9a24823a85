"""Where the fixture keeps its notes and its journal."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from mcp_bulkhead.settings import Folder, Positional, ServerSettings


class Settings(ServerSettings):
    """One folder, and a secret that must never be seen."""

    folder: Annotated[Folder, Positional("FOLDER"), Field(description="Holds notes/ and the journal.")]
    password: Annotated[SecretStr | None, Field(description="A secret that no answer and no line may show.")] = None

    @property
    def journal(self) -> Path:
        return self.folder / "journal.log"
