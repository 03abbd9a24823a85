"""What goes in: the argument types of the tools, each described and bounded once."""

from typing import Annotated, Literal

from pydantic import Field

from mcp_bulkhead import Given

from .backend import Files

Backend = Annotated[Files, Given()]

Path = Annotated[str, Field(description="Path below a root, or absolute.", max_length=4096)]
Paths = Annotated[
    list[Annotated[str, Field(max_length=4096)]],
    Field(min_length=1, max_length=20, description="Files; `name#L10-80` takes only those lines"),
]
Start = Annotated[int, Field(ge=1, description="First line, for every path without its own range")]
Lines = Annotated[int, Field(ge=1, le=1000, description="Lines in all")]
Numbers = Annotated[bool, Field(description="Number the lines")]
MaxTokens = Annotated[int, Field(ge=200, le=25_000, description="Size of the answer in tokens (default 5000)")]
Depth = Annotated[int, Field(ge=1, le=10, description="Levels to show")]
Ignored = Annotated[bool, Field(description="Also show what .gitignore leaves out")]
Limit = Annotated[int, Field(ge=1, le=1000, description="Entries in one answer")]
Glob = Annotated[
    str,
    Field(
        min_length=1, max_length=1000, description="`*.py` matches names at any depth, `src/**/*.{ts,tsx}` whole paths"
    ),
]
OnlyGlob = Annotated[str, Field(max_length=1000, description="Only files that match this glob")]
Kind = Annotated[Literal["file", "dir", "link"], Field(description="Only entries of this kind")]
Mode = Annotated[Literal["lines", "files", "count"], Field(description="Matching lines, only the files, or counts")]
Pattern = Annotated[
    str, Field(min_length=1, max_length=1000, description="Regular expression (RE2), or text if `literal`")
]
Literal_ = Annotated[bool, Field(description="Take the pattern as plain text")]
IgnoreCase = Annotated[bool, Field(description="Upper and lower case are the same")]
Context = Annotated[int, Field(ge=0, le=10, description="Lines shown around each match")]
