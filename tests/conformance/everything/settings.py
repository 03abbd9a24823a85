"""Nothing of its own: what every server can be told."""

from mcp_bulkhead.settings import ServerSettings


class Settings(ServerSettings):
    """What every server can be told."""
