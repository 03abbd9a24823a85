"""Calls that ask the client in the middle, as clients before 2026-07-28 know it: a request on the open stream."""

from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp.server.mcpserver import Context

from .rounds import Round, said

PERSON: Final = {"username": {"type": "string"}, "email": {"type": "string"}}
DEFAULTS: Final[Mapping[str, Any]] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
PLAIN: Final = ["option1", "option2", "option3"]
TITLED: Final = [{"const": f"value{number}", "title": f"Choice {number}"} for number in (1, 2, 3)]
CHOICES: Final[Mapping[str, Any]] = {
    "untitledSingle": {"type": "string", "enum": PLAIN},
    "titledSingle": {"type": "string", "oneOf": TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": PLAIN}},
    "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
}


def form(properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> Round:
    """A call that fills a form with these fields."""

    async def ask(context: Context[Any, Any]) -> types.CallToolResult:
        schema = {"type": "object", "properties": dict(properties), "required": list(required)}
        answer = await context.session.elicit("Please fill in", schema, context.request_context.request_id)
        return said(f"action={answer.action}, content={answer.content}")

    return ask


async def sampling(context: Context[Any, Any]) -> types.CallToolResult:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="Say something."))
    session: Any = context.session  # sampling is deprecated, and typed so: earlier clients have it all the same
    answer = await session.create_message(
        [message], max_tokens=100, related_request_id=context.request_context.request_id
    )
    return said(f"LLM response: {answer.content}")


QUESTIONS: Final[Mapping[str, Round]] = {
    "test_elicitation": form(PERSON, ("username", "email")),
    "test_elicitation_sep1034_defaults": form(DEFAULTS),
    "test_elicitation_sep1330_enums": form(CHOICES),
    "test_sampling": sampling,
}
