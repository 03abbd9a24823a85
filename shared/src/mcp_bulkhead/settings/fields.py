"""What a setting's annotation may say beside its type, and how one line of text becomes that type.

Named tuples here and in the neighbours, not dataclasses: these are made at every start, and cost a sixth.
"""

import json
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, cast, get_args, get_origin

from pydantic import SecretStr

FormKind = Literal["string", "number", "boolean", "directory", "file"]
GroupTitle = Literal["This server", "Limits", "Hosting", "Audit and telemetry"]

UNEXPANDED: Final = "${user_config."
"""Desktop clients leave this literal in arguments and variables whose setting the person did not fill in."""

_COMMA_OUTSIDE_BRACES = re.compile(r",(?![^{}]*\})")
"""`*.{pem,key}` is one glob: cut in two it would match nothing, and a deny list would be silently open."""


class Alias(NamedTuple):
    """Another environment name for the same setting, such as DATABASE_URL."""

    env: str


class Positional(NamedTuple):
    """The setting is also what stands on the command line without a flag; `metavar` is how usage shows one of them."""

    metavar: str


class Metavar(NamedTuple):
    """How --help shows a value of this setting."""

    word: str


class Kind(NamedTuple):
    """What a client's settings form should offer, where the type does not say it."""

    form: FormKind


class Group(NamedTuple):
    """The heading of --help and of the documentation under which the setting stands."""

    title: GroupTitle


class DefaultShown(NamedTuple):
    """How to print a default that is only known when the server starts."""

    text: str


class Shape(NamedTuple):
    """A field's type as far as reading text needs it: `item` is the type of one value."""

    item: Any
    many: bool
    optional: bool

    def is_a(self, kind: type[Any]) -> bool:
        return isinstance(self.item, type) and issubclass(cast("type[Any]", self.item), kind)

    @property
    def boolean(self) -> bool:
        return self.item is bool and not self.many

    @property
    def secret(self) -> bool:
        return self.is_a(SecretStr)


def shape_of(annotation: Any) -> Shape:
    """Look through Annotated, Optional and one level of list."""
    outer, optional = _bare(annotation)
    args = tuple(arg for arg in get_args(outer) if arg is not Ellipsis)
    if get_origin(outer) in (tuple, list, set, frozenset):
        return Shape(_bare(args[0])[0] if len(set(args)) == 1 else Any, many=True, optional=optional)
    return Shape(outer, many=False, optional=optional)


def is_unset(text: str) -> bool:
    """Clients cannot leave a variable out, so they send it empty or unexpanded."""
    return not text.strip() or UNEXPANDED in text


def value_of(text: str, *, multiple: bool) -> str | tuple[str, ...] | None:
    """What one text gives: None when it is no value at all."""
    if multiple:
        return split(text) or None
    return None if is_unset(text) else text


def split(text: str) -> tuple[str, ...]:
    """`a,b` or `["a","b"]`: the second form is for values that contain a comma."""
    if text.startswith('["') and text.endswith('"]'):
        try:
            return tuple(item for item in json.loads(text) if not is_unset(item))
        except (ValueError, AttributeError):  # not JSON, or not a list of texts: then it is a list with strange commas
            pass
    return tuple(item.strip() for item in _COMMA_OUTSIDE_BRACES.split(text) if not is_unset(item))


def _bare(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        args = get_args(annotation)
        others = tuple(arg for arg in args if arg is not NoneType)
        if len(others) == 1:
            return _bare(others[0])[0], len(others) < len(args)
        return annotation, len(others) < len(args)
    return annotation, False
