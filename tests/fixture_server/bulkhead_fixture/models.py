"""What the fixture's tools take and give."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from mcp_bulkhead import Given

from .backend import Playground

Backend = Annotated[Playground, Given()]
Words = Annotated[str, Field(description="Any text.", max_length=2_000)]
Name = Annotated[str, Field(description="What the journal calls this call.", max_length=40)]
NotePath = Annotated[str, Field(description="A note below notes/, for example `tides/spring.txt`.", max_length=500)]
Seconds = Annotated[float, Field(description="How long.", ge=0, le=60)]
Whole = Annotated[int, Field(description="A whole number.", ge=-1_000_000, le=1_000_000)]
Unit = Annotated[Literal["metre", "foot"], Field(description="The unit of both numbers.")]
Count = Annotated[int, Field(description="How many rows there are in all.", ge=0, le=20_000)]
Limit = Annotated[int, Field(description="How many rows one answer may have.", ge=1, le=5_000)]
Tags = Annotated[list[str], Field(description="Words to put beside the sum.", max_length=5)]
Again = Annotated[bool, Field(description="Whether to do it.")]
MaxTokens = Annotated[int, Field(description="The size of the answer in tokens.", ge=100, le=25_000)]


class Sum(BaseModel):
    """A sum, and what was said about it."""

    total: int = Field(description="Both numbers together.")
    unit: str | None = Field(default=None, description="The unit, when one was given.")
    tags: list[str] = Field(default_factory=list, description="The words that were sent.")


class Item(BaseModel):
    """One row of a long list."""

    number: int
    label: str
    odd: bool | None = None


class Done(BaseModel):
    """What a change came to."""

    path: str
    bytes: int
