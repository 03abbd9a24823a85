"""The contract every server keeps, as a suite that anybody can run: `pytest --pyargs mcp_bulkhead.testing.contract`.

`requirements` is the manifest, `contract/` the tests, `wire` and `doors` the way to a server, `plugin` what pytest
loads.
"""
