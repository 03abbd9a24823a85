"""`@tool`: everything that is true of a tool, said once, beside its handler.

From the declaration come the four hints, the title, the portable schema, who may call it, what lands in the audit,
what it costs, and how long it may take. The pipeline enforces what stands here; nothing of it is written a second time.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from .results import Text

Effect = Literal["read", "write", "destroy", "send"]
Cost = Literal["cheap", "moderate", "heavy"]
COST_UNITS: Final[Mapping[str, int]] = {"cheap": 1, "moderate": 5, "heavy": 25}
MAX_NAME: Final = 32
MAX_CURSOR: Final = 16_384


class Given:
    """Marks a parameter the server provides: never in the schema, never the model's to fill.

    Bare, it is the server's backend. With a function, it is what that function makes of the backend and the arguments.
    """

    def __init__(self, resolve: Callable[[Any, Mapping[str, Any]], Awaitable[Any]] | None = None) -> None:
        self.resolve = resolve


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place where an earlier answer stopped: a string in the schema, opened and checked for the handler."""

    position: Any

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        text = core_schema.str_schema(max_length=MAX_CURSOR)
        return core_schema.no_info_after_validator_function(cls, text)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "description": "The cursor that the answer before gave, to go on from there."}


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A declared tool. Readable as a policy: who, what, how costly, how long, what is recorded."""

    name: str
    title: str
    description: str
    handler: Callable[..., Awaitable[Any]]
    effect: Effect
    scope: str
    toolset: str
    targets: str | Callable[[Mapping[str, Any]], Sequence[str]] | None
    personal: bool
    untrusted: bool
    cost: Cost
    deadline_s: float | None
    idempotent: bool
    open_world: bool
    labels: tuple[str, ...]
    page_arguments: frozenset[str]
    given: Mapping[str, Given] = field(default_factory=dict[str, Given])
    returns: Any = None

    @property
    def payload(self) -> bool:
        """Whether the answer is text only, with no output schema."""
        return self.returns is Text

    @property
    def reads(self) -> bool:
        return self.effect == "read"

    @property
    def destructive(self) -> bool:
        return self.effect in ("destroy", "send")

    def targets_of(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """What the call is about, for the audit: a path, a table, `repo@rev`."""
        if self.targets is None:
            return ()
        if callable(self.targets):
            return tuple(self.targets(arguments))
        field_names = [name for _, name, _, _ in parse_format(self.targets) if name]
        if len(field_names) == 1 and isinstance(arguments.get(field_names[0]), list | tuple):
            name = field_names[0]
            return tuple(self.targets.format_map({name: one}) for one in arguments[name])
        present = {name: "" if arguments.get(name) is None else arguments[name] for name in field_names}
        return (self.targets.format_map(present),)


def parse_format(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    from string import Formatter

    return list(Formatter().parse(template))


def tool(
    *,
    effect: Effect,
    scope: str,
    toolset: str = "read",
    title: str | None = None,
    targets: str | Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
    personal: bool = False,
    untrusted: bool = False,
    cost: Cost = "cheap",
    deadline: float | None = None,
    idempotent: bool | None = None,
    open_world: bool = False,
    labels: Sequence[str] = (),
    page_arguments: Sequence[str] = ("cursor", "limit", "max_tokens"),
) -> Callable[[Callable[..., Awaitable[Any]]], Tool]:
    """Declare a tool: the handler's name, docstring and parameters are its name, description and schema."""

    def declare(handler: Callable[..., Awaitable[Any]]) -> Tool:
        name = handler.__name__
        if not inspect.iscoroutinefunction(handler):
            raise TypeError(f"{name}: a tool is async, or it could be neither cancelled nor timed out")
        if len(name) > MAX_NAME or not name.replace("_", "").isalnum() or not name.islower():
            raise TypeError(f"{name}: a tool name is at most {MAX_NAME} of [a-z0-9_]")
        hints = get_type_hints(handler, include_extras=True)
        return Tool(
            name=name,
            title=title or name.replace("_", " ").capitalize(),
            description=flow(inspect.getdoc(handler) or ""),
            handler=handler,
            effect=effect,
            scope=scope,
            toolset=toolset,
            targets=targets,
            personal=personal,
            untrusted=untrusted,
            cost=cost,
            deadline_s=deadline,
            idempotent=effect == "read" if idempotent is None else idempotent,
            open_world=open_world,
            labels=tuple(labels),
            page_arguments=frozenset(page_arguments),
            given={key: marker for key, hint in hints.items() if (marker := given_marker(hint)) is not None},
            returns=hints.get("return"),
        )

    return declare


def given_marker(annotation: Any) -> Given | None:
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, Given):
                return extra
            if extra is Given:
                return Given()
    return None


def flow(docstring: str) -> str:
    """A docstring without its line wrapping: paragraphs stay, broken lines join."""
    paragraphs = docstring.strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def tools_in(modules: Sequence[ModuleType]) -> tuple[Tool, ...]:
    """The tools declared in `modules`, in the order they are written."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Tool))


def is_model(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, BaseModel)
