"""A server for the library's own tests: it does on purpose what a real server must never do."""

from dataclasses import dataclass

from mcp_bulkhead import ServerSpec


@dataclass(frozen=True, kw_only=True)
class FixtureSpec(ServerSpec):
    """It is never installed, so there is no metadata to ask for its version."""

    @property
    def version(self) -> str:
        return "0.0.1"


SPEC = FixtureSpec(
    name="fixture",
    module=__name__,
    title="Bulkhead Fixture",
    summary="Does on purpose what a real server must never do.",
    tool_prefix="fx_",
    touches=("one folder",),
)

__all__ = ["SPEC"]
