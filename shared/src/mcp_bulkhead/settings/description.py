"""Each setting as data: for --help, README tables, the catalog and clients' settings forms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .base import ServerSettings
from .fields import Alias, DefaultShown, FormKind, Group, GroupTitle, Kind, Metavar, Positional, Shape, shape_of

Mark = TypeVar("Mark")


class SettingInfo(NamedTuple):
    """How one setting is given and what it means. `default` is None for a required one."""

    name: str
    flag: str
    env: str
    aliases: tuple[str, ...]
    key: str
    type: str
    metavar: str
    form: FormKind
    default: str | None
    description: str
    group: GroupTitle
    positional: str | None
    required: bool
    secret: bool
    multiple: bool
    boolean: bool
    common: bool

    @property
    def env_names(self) -> tuple[str, ...]:
        return (self.env, *self.aliases)

    @property
    def off_flag(self) -> str | None:
        return f"--no-{self.flag.removeprefix('--')}" if self.boolean else None

    @property
    def file_flag(self) -> str | None:
        return f"{self.flag}-file" if self.secret else None

    @property
    def file_env_names(self) -> tuple[str, ...]:
        return tuple(f"{name}_FILE" for name in self.env_names) if self.secret else ()

    @property
    def file_key(self) -> str | None:
        return f"{self.key}_file" if self.secret else None


def program_of(server: str) -> str:
    return f"mcp-bulkhead-{server}"


def env_prefix(server: str) -> str:
    return f"MCP_BULKHEAD_{server.upper().replace('-', '_')}_"


def describe(cls: type[ServerSettings], server: str) -> list[SettingInfo]:
    """Every setting of this server: its own first, then those all servers have."""
    infos = [_info(name, field, server) for name, field in cls.model_fields.items()]
    return sorted(infos, key=lambda info: info.common)


def _info(name: str, field: FieldInfo, server: str) -> SettingInfo:
    shape = shape_of(field.annotation)
    group, positional = _mark(field, Group), _mark(field, Positional)
    return SettingInfo(
        name=name,
        flag=f"--{name.replace('_', '-')}",
        env=f"{env_prefix(server)}{name.upper()}",
        aliases=tuple(mark.env for mark in field.metadata if isinstance(mark, Alias)),
        key=name,
        type=_type_in_words(shape, field),
        metavar=_metavar(shape, field),
        form=_form(shape, field),
        default=_default_shown(shape, field, server),
        description=field.description or "",
        group=group.title if group else "This server",
        positional=positional.metavar if positional else None,
        required=field.is_required(),
        secret=shape.secret,
        multiple=shape.many,
        boolean=shape.boolean,
        common=name in ServerSettings.model_fields,
    )


def _mark(field: FieldInfo, kind: type[Mark]) -> Mark | None:
    found = [mark for mark in _all_marks(field) if isinstance(mark, kind)]
    return found[-1] if found else None


def _all_marks(field: FieldInfo) -> Sequence[Any]:
    """Those of the field, and those inside `Annotated[...] | None` or `tuple[Annotated[...], ...]`."""
    return [*_inner_marks(field.annotation), *field.metadata]


def _inner_marks(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return []
    own = list(getattr(annotation, "__metadata__", ()))
    return [*(mark for arg in get_args(annotation) for mark in _inner_marks(arg)), *own]


def _type_in_words(shape: Shape, field: FieldInfo) -> str:
    word = _item_in_words(shape, field)
    return f"list of {word}s" if shape.many else word + _bounds_in_words(field)


def _item_in_words(shape: Shape, field: FieldInfo) -> str:
    if get_origin(shape.item) is Literal:
        return f"one of {', '.join(map(str, get_args(shape.item)))}"
    if _form(shape, field) == "directory":
        return "folder"
    words: dict[type[Any], str] = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        SecretStr: "secret text",
        Path: "path",
    }
    for kind, word in words.items():
        if shape.is_a(kind):
            return word
    return str(getattr(shape.item, "__name__", "text")).lower()


def _bounds_in_words(field: FieldInfo) -> str:
    words = {
        "ge": "at least {}",
        "gt": "more than {}",
        "le": "at most {}",
        "lt": "less than {}",
        "min_length": "at least {} characters",
        "max_length": "at most {} characters",
    }
    bounds = [(word, getattr(mark, name, None)) for mark in _all_marks(field) for name, word in words.items()]
    return "".join(f", {word.format(bound)}" for word, bound in bounds if bound is not None)


def _metavar(shape: Shape, field: FieldInfo) -> str:
    if positional := _mark(field, Positional):
        return positional.metavar
    if metavar := _mark(field, Metavar):
        return metavar.word
    if shape.secret:
        return "SECRET"
    return {"number": "N", "directory": "FOLDER", "file": "PATH"}.get(_form(shape, field), "TEXT")


def _form(shape: Shape, field: FieldInfo) -> FormKind:
    if kind := _mark(field, Kind):
        return kind.form
    if shape.is_a(bool):
        return "boolean"
    if shape.is_a(int) or shape.is_a(float):
        return "number"
    return "file" if shape.is_a(Path) else "string"


def _default_shown(shape: Shape, field: FieldInfo, server: str) -> str | None:
    if field.is_required():
        return None
    if shown := _mark(field, DefaultShown):
        return shown.text.replace("SERVER", server)
    default = field.get_default()
    if default is None or default is PydanticUndefined:
        return "not set"
    if shape.many:
        return ", ".join(map(str, default)) or "none"
    return _value_shown(default)  # a secret shows itself masked


def _value_shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
