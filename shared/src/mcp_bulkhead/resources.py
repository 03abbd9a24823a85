"""`@resource` and `@prompt`: what a server offers beside its tools, declared like them.

Resources mirror tools: every place a resource can read, a tool can read too, under the same scope and the same guard.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, get_type_hints

from .results import Part
from .tools import Given, flow, given_marker

Complete = Callable[[Any, str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Contents:
    """What reading a resource gives: text or bytes, and what is known about them."""

    body: str | bytes
    mime: str
    meta: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One resource in a listing."""

    uri: str
    name: str
    mime: str | None = None
    size: int | None = None
    modified: str | None = None
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A declared resource template, its listing and the completion of its variables."""

    template: str
    name: str
    title: str
    description: str
    scope: str
    handler: Callable[..., Awaitable[Contents]]
    mime: str | None
    listing: Callable[[Any], Awaitable[Sequence[Listed]]] | None
    complete: Mapping[str, Complete]
    untrusted: bool
    deadline_s: float | None
    given: Mapping[str, Given] = field(default_factory=dict[str, Given])


def resource(
    template: str,
    *,
    scope: str,
    title: str,
    mime: str | None = None,
    listing: Callable[[Any], Awaitable[Sequence[Listed]]] | None = None,
    complete: Mapping[str, Complete] | None = None,
    untrusted: bool = False,
    deadline: float | None = None,
) -> Callable[[Callable[..., Awaitable[Contents]]], Resource]:
    """Declare a resource, or with variables in its URI a template; the handler takes them by name, and what is given.

    A resource of one fixed URI is listed by itself; what a template leads to is listed by `listing`.
    """

    def declare(handler: Callable[..., Awaitable[Contents]]) -> Resource:
        hints = get_type_hints(handler, include_extras=True)
        return Resource(
            template=template,
            name=handler.__name__,
            title=title,
            description=flow(handler.__doc__ or ""),
            scope=scope,
            handler=handler,
            mime=mime,
            listing=listing,
            complete=dict(complete or {}),
            untrusted=untrusted,
            deadline_s=deadline,
            given={key: marker for key, hint in hints.items() if (marker := given_marker(hint)) is not None},
        )

    return declare


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A declared prompt: few, string, single-word arguments, because clients split them on blanks.

    The handler gives one text, or several parts that become one message each.
    """

    name: str
    title: str
    description: str
    scope: str
    untrusted: bool
    handler: Callable[..., Awaitable[str | Sequence[Part]]]
    arguments: Mapping[str, tuple[str, bool]]
    complete: Mapping[str, Complete]
    given: Mapping[str, Given]


def prompt(
    *,
    title: str,
    scope: str,
    untrusted: bool = False,
    complete: Mapping[str, Complete] | None = None,
    **arguments: str,
) -> Callable[[Callable[..., Awaitable[str | Sequence[Part]]]], Prompt]:
    """Declare a prompt; each further keyword describes an argument of the handler.

    A prompt that shows what a tool would show needs the tool's scope.
    """

    def declare(handler: Callable[..., Awaitable[str | Sequence[Part]]]) -> Prompt:
        import inspect

        hints = get_type_hints(handler, include_extras=True)
        given = {key: marker for key, hint in hints.items() if (marker := given_marker(hint)) is not None}
        parameters = inspect.signature(handler).parameters
        return Prompt(
            name=handler.__name__,
            title=title,
            description=flow(handler.__doc__ or ""),
            scope=scope,
            untrusted=untrusted,
            handler=handler,
            arguments={
                key: (arguments[key], each.default is inspect.Parameter.empty)
                for key, each in parameters.items()
                if key not in given
            },
            complete=dict(complete or {}),
            given=given,
        )

    return declare


def resources_in(module: ModuleType | None) -> tuple[Resource, ...]:
    return tuple(value for value in vars(module or object).values() if isinstance(value, Resource))


def prompts_in(module: ModuleType | None) -> tuple[Prompt, ...]:
    return tuple(value for value in vars(module or object).values() if isinstance(value, Prompt))
