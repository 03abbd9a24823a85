"""A server on our library that offers what the official conformance suite asks for by name.

What a declaration can say is declared, in `tools/`, `resources` and `prompts`, like in any server. What our library
leaves out on purpose, or has no declaration for, is registered on the SDK below it, in `rounds`, `questions` and
`hosting`: our pipeline runs around it all the same.
"""

from dataclasses import dataclass

from mcp_bulkhead import ServerSpec


@dataclass(frozen=True, kw_only=True)
class FixtureSpec(ServerSpec):
    """It is never installed, so there is no metadata to ask for its version."""

    @property
    def version(self) -> str:
        return "0.0.1"


SPEC = FixtureSpec(
    name="everything",
    module=__name__,
    title="Bulkhead Everything",
    summary="Offers what the conformance suite asks for.",
    tool_prefix="test_",
)

__all__ = ["SPEC"]
