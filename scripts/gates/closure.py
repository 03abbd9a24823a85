"""Which installed packages a distribution of ours brings with it."""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires

NOT_FOR_USERS = frozenset({"testing"})


def runtime_closure(names: Iterable[str]) -> set[str]:
    """Everything below `names`, their own extras included; markers of platform and version are taken as true."""
    todo = [(name, extras_for_users(name)) for name in map(normal, names)]
    seen = set(todo)
    while todo:
        new = set(required(*todo.pop())) - seen
        seen |= new
        todo.extend(new)
    return {name for name, _ in seen}


def required(name: str, extras: frozenset[str]) -> Iterable[tuple[str, frozenset[str]]]:
    for line in installed_requirements(name):
        if set(extras_named_in(line)) - extras:
            continue
        head = re.match(r"([\w.-]+)\s*(?:\[([^\]]*)\])?", line)
        assert head
        yield normal(head[1]), frozenset(normal(part) for part in (head[2] or "").split(",") if part)


def extras_for_users(name: str) -> frozenset[str]:
    return frozenset(extra for line in installed_requirements(name) for extra in extras_named_in(line)) - NOT_FOR_USERS


def extras_named_in(requirement: str) -> list[str]:
    return [normal(extra) for extra in re.findall(r"""extra\s*==\s*["']([^"']+)""", requirement)]


def installed_requirements(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:  # asked for on another platform only
        return []


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
