"""What the repository says about its servers, written by the servers: README tables, manifests, catalog, documentation.

gather   builds each server in its example world and asks it over MCP
render   turns what was gathered into every generated file, as text; reads the repository, writes nothing
write    puts those texts in place;  drift  names the files that differ from them
linter   judges what a model will read;  compat  compares it with the last release
clients  the configuration of each client, for documentation, demo and `--print-config`
"""

from .facts import Facts, ToolFacts, gather, gather_all
from .rendering import drift, render, write

__all__ = ["Facts", "ToolFacts", "drift", "gather", "gather_all", "render", "write"]
