"""The contract suite. `pytest --pyargs mcp_bulkhead.testing.contract` runs it for every installed server."""
