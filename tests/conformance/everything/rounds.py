"""Calls that ask the client for something before they answer.

Sampling and roots are deprecated and no server of ours asks for them; elicitation belongs to the library's own
confirmations. What these show is that questions, answers and sealed state pass through our pipeline unharmed.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import mcp_types as types
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError

Answer = types.CallToolResult | types.InputRequiredResult
Round = Callable[[Context[Any, Any]], Awaitable[Answer]]


def said(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def wanted(requests: Mapping[str, types.InputRequest], state: str | None = None) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=dict(requests), request_state=state)


def form(message: str, field: str, kind: str = "string") -> types.ElicitRequest:
    schema: dict[str, Any] = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))


def answered(context: Context[Any, Any], key: str) -> Any:
    return (context.input_responses or {}).get(key)


def accepted(context: Context[Any, Any], key: str) -> Mapping[str, Any] | None:
    """What a person filled in, when they did."""
    answer = answered(context, key)
    return answer.content if isinstance(answer, types.ElicitResult) and answer.action == "accept" else None


async def elicitation(context: Context[Any, Any]) -> Answer:
    filled = accepted(context, "user_name")
    if filled is None:
        return wanted({"user_name": form("What is your name?", "name")})
    return said(f"Hello, {filled['name']}!")


async def sampling(context: Context[Any, Any]) -> Answer:
    if answered(context, "capital_question") is None:
        return wanted({"capital_question": sample("What is the capital of France?")})
    return said("The model has answered.")


async def list_roots(context: Context[Any, Any]) -> Answer:
    given = answered(context, "client_roots")
    if not isinstance(given, types.ListRootsResult):
        return wanted({"client_roots": types.ListRootsRequest()})
    return said(", ".join(str(root.uri) for root in given.roots))


async def request_state(context: Context[Any, Any]) -> Answer:
    if accepted(context, "confirm") is None:
        return wanted({"confirm": form("Please confirm", "ok", "boolean")}, "waiting")
    return said("state-ok" if context.request_state == "waiting" else "the state is another")


async def multiple_inputs(context: Context[Any, Any]) -> Answer:
    if context.request_state is None:
        return wanted(
            {
                "user_name": form("What is your name?", "name"),
                "greeting": sample("Generate a greeting"),
                "client_roots": types.ListRootsRequest(),
            },
            "asked",
        )
    return said("All three have answered.")


async def multi_round(context: Context[Any, Any]) -> Answer:
    if context.request_state is None:
        return wanted({"step1": form("Step 1: What is your name?", "name")}, "first")
    if context.request_state == "first":
        return wanted({"step2": form("Step 2: What is your favorite color?", "color")}, "second")
    return said("Both steps are done.")


async def capabilities(context: Context[Any, Any]) -> Answer:
    """Asks only for what this client can do."""
    declared = context.client_capabilities or types.ClientCapabilities()
    possible: dict[str, types.InputRequest] = {}
    if declared.sampling is not None:
        possible["greeting"] = sample("Generate a greeting")
    if declared.elicitation is not None:
        possible["user_name"] = form("What is your name?", "name")
    return wanted(possible)


async def missing_capability(context: Context[Any, Any]) -> Answer:
    declared = context.client_capabilities
    if declared is not None and declared.sampling is not None:
        return said("This client can sample.")
    needed = types.ClientCapabilities(sampling=types.SamplingCapability())
    data = types.MissingRequiredClientCapabilityErrorData(required_capabilities=needed)
    raise MCPError(
        types.MISSING_REQUIRED_CLIENT_CAPABILITY,
        "This tool needs a client that can sample.",
        data.model_dump(by_alias=True, mode="json", exclude_none=True),
    )


ROUNDS: Final[Mapping[str, Round]] = {
    "test_input_required_result_elicitation": elicitation,
    "test_input_required_result_sampling": sampling,
    "test_input_required_result_list_roots": list_roots,
    "test_input_required_result_request_state": request_state,
    "test_input_required_result_tampered_state": request_state,
    "test_input_required_result_multiple_inputs": multiple_inputs,
    "test_input_required_result_multi_round": multi_round,
    "test_input_required_result_capabilities": capabilities,
    "test_missing_capability": missing_capability,
    "test_streaming_elicitation": elicitation,
}
ASKING_PROMPT: Final = "test_input_required_result_prompt"


async def asking_prompt(context: Context[Any, Any]) -> str | types.InputRequiredResult:
    filled = accepted(context, "user_context")
    if filled is None:
        return wanted({"user_context": form("What context should the prompt use?", "context")})
    return f"Use this context: {filled['context']}"
