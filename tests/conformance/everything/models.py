"""What the tools take and give."""

from typing import Annotated

from pydantic import BaseModel, Field

from mcp_bulkhead import Given

from .backend import Stage

Backend = Annotated[Stage, Given()]
Region = Annotated[str, Field(description="Where the call should be routed.", max_length=200)]


class Address(BaseModel):
    """An object inside an object: a reference in the schema that pydantic makes."""

    street: str | None = Field(default=None, description="Street and number.")
    city: str | None = Field(default=None, description="Town or city.")


Name = Annotated[str, Field(description="Whose address it is.", max_length=200)]
Home = Annotated[Address, Field(description="The address.")]


class Registered(BaseModel):
    """What was understood."""

    name: str = Field(description="The name that was sent.")
    city: str | None = Field(default=None, description="The city, when one was sent.")
