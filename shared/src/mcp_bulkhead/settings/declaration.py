"""Mistakes in a Settings class, found when the class is made and not by the first person who installs it."""

from collections.abc import Iterator

from pydantic import BaseModel, SecretBytes
from pydantic.fields import FieldInfo

from .fields import Positional, shape_of

ACTIONS = ("check", "demo", "print_config", "version", "help")
"""Flags that do something else than serve; no setting may take their names."""

RESERVED = frozenset({*ACTIONS, "server"})


def check_declaration(cls: type[BaseModel]) -> None:
    """Raise TypeError for a field that could not be given on all three ways, or is not explained."""
    mistakes = [f"{name} {mistake}" for name, field in cls.model_fields.items() for mistake in _mistakes(name, field)]
    secrets = [name for name, field in cls.model_fields.items() if shape_of(field.annotation).secret]
    mistakes += [
        f"{name}_file is where the secret {name} may be" for name in secrets if f"{name}_file" in cls.model_fields
    ]
    positional = [name for name, field in cls.model_fields.items() if _is_positional(field)]
    if len(positional) > 1:
        mistakes.append(f"{' and '.join(positional)} are both positional; one may be")
    if mistakes:
        raise TypeError(f"{cls.__qualname__}: {'; '.join(mistakes)}")


def _mistakes(name: str, field: FieldInfo) -> Iterator[str]:
    shape = shape_of(field.annotation)
    if not field.description:
        yield "has no description"
    if name in RESERVED or name.startswith("no_"):
        yield "is the name of a flag that means something else"
    if field.alias or field.validation_alias:
        yield "has a pydantic alias; use Alias for another environment name"
    if shape.is_a(SecretBytes) or (shape.secret and shape.many):
        yield "should be one SecretStr: only that can be kept in a file and rotated"
    if shape.secret and _is_positional(field):
        yield "is secret and positional; a command line is visible to every process"


def _is_positional(field: FieldInfo) -> bool:
    return any(isinstance(mark, Positional) for mark in field.metadata)
