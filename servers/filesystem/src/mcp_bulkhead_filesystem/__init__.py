"""Files for a model, inside the folders the operator names."""

from mcp_bulkhead import ServerSpec

SPEC = ServerSpec(
    name="filesystem",
    module=__name__,
    title="Bulkhead Files",
    summary="Read and search files inside the folders you name, and nowhere else.",
    tool_prefix="fs_",
    touches=("files below the named folders",),
    demo=("mcp-bulkhead-filesystem ~/notes", "mcp-bulkhead-filesystem ~/src:ro ~/scratch:rw --http 127.0.0.1:8000"),
)

__all__ = ["SPEC"]
