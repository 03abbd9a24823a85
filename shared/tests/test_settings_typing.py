"""Read by the type checker, never run: what a server's author gets to write and to rely on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_type

from pydantic import Field, SecretStr

from mcp_bulkhead.settings import Alias, Kind, Parsed, Positional, ServerSettings, load, parse, secret_value

if TYPE_CHECKING:

    class Settings(ServerSettings):
        """Which folders may be read."""

        roots: Annotated[
            tuple[Path, ...], Positional("ROOT"), Kind("directory"), Field(min_length=1, description="Folders.")
        ]
        deny: Annotated[tuple[str, ...], Field(description="Patterns.")] = (".env*",)
        api_key: Annotated[SecretStr | None, Alias("TICKET_API_KEY"), Field(description="The key.")] = None

    def main(argv: list[str]) -> None:
        parsed = parse(Settings, server="typed", version="1", description="Typed.", argv=argv)
        assert_type(parsed, Parsed[Settings])
        if parsed.settings is not None:
            assert_type(parsed.settings.roots, tuple[Path, ...])
            assert_type(secret_value(parsed.settings.api_key), str | None)
            assert_type(parsed.settings.http_address, tuple[str, int] | None)
            assert_type(parsed.settings.read_only, bool)
        assert_type(load(Settings, server="typed", roots=("/data",)), Settings)
        Settings(roots=(Path("/data"),), deadline_s=1.5)
        Settings()  # pyright: ignore[reportCallIssue]
