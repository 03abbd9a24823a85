"""Every failure code there is, read from the source: what it means, what its hint says, and where it is raised.

Read and not imported, so that neither the order of imports nor a test's own classes can change the documentation.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

UNSEEN: Final = frozenset(
    {"app", "checkup", "cli", "demo", "publish", "scaffold", "settings", "telemetry", "testing", "audit"}
)
"""Parts whose failures a person meets at a terminal: what they say of a shared code is not what a model reads."""

ROOT_CLASS: Final = "Failure"
CLASS_OR_CALL: Final = (ast.ClassDef, ast.Call)
FEW: Final = 3
CODE: Final = re.compile(r"[a-z][a-z_]*")
TREE_LINE: Final = re.compile(r"^[\s│├└─]*(?P<name>[A-Z]\w+)\s{2,}(?P<meaning>\S.*?)(\s{3,}.*)?$")


@dataclass(frozen=True, kw_only=True)
class FailureCode:
    """One code: the class that carries it, what it means, and the first hint that is given with it."""

    code: str
    kind: str
    package: str
    meaning: str = ""
    hint: str = ""
    retryable: bool = False


@dataclass(frozen=True, kw_only=True)
class FailureClass:
    name: str
    base: str
    package: str
    code: str | None
    retryable: bool | None
    meaning: str


def codes_in(*packages: str) -> dict[str, FailureCode]:
    """The codes raised in these packages, by code. A later package knows the failure classes of the earlier ones."""
    sources = [source for package in packages for source in sources_of(package)]
    nodes = [(each, node) for each in sources for node in ast.walk(each.tree) if isinstance(node, CLASS_OR_CALL)]
    pictured = dict(drawn for each in sources for drawn in tree_of(ast.get_docstring(each.tree) or ""))
    classes = failure_classes(
        [(each.package, node) for each, node in nodes if isinstance(node, ast.ClassDef)], pictured
    )
    found: dict[str, FailureCode] = {}
    for each in classes.values():
        declared = of_class(each, classes)
        found.setdefault(declared.code, declared)
    raised: dict[str, list[FailureCode]] = {}
    for each, node in nodes:
        if isinstance(node, ast.Call) and (one := raised_by(node, each, classes)):
            raised.setdefault(one.code, []).append(one)
    for code, places in raised.items():
        found[code] = merged(found.get(code) or replace(places[0], meaning=""), places)
    return {code: explained(found[code], classes) for code in sorted(found)}


def merged(known: FailureCode, places: Iterable[FailureCode]) -> FailureCode:
    """A code means the same in every server, so a later package adds nothing to what an earlier one says of it."""
    here = [place for place in places if place.package == known.package]
    hint = said_of(place.hint for place in here)
    return replace(known, hint=hint, meaning=known.meaning or said_of(place.meaning for place in here))


def said_of(texts: Iterable[str]) -> str:
    """What the places that share a code say: all of it when it is little, else what most of them say."""
    counted = Counter(filter(None, texts))
    if len(counted) <= FEW:
        return " Or: ".join(counted)
    return max(counted, key=lambda text: counted[text])


def explained(each: FailureCode, classes: Mapping[str, FailureClass]) -> FailureCode:
    """A code that nothing explains means what the class above it means."""
    inherited = (one.meaning for one in ancestry(classes[each.kind], classes) if one.meaning)
    return each if each.meaning else replace(each, meaning=next(inherited, ""))


class Source(NamedTuple):
    """One module, and whether a model reads what its failures say."""

    package: str
    tree: ast.Module
    seen: bool


def sources_of(package: str) -> Iterator[Source]:
    """The modules of a package in the order of their paths, or the one module that it is."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    folder = Path(spec.origin).parent
    for path in sorted(folder.rglob("*.py")) if spec.submodule_search_locations else [Path(spec.origin)]:
        part = path.relative_to(folder).with_suffix("").parts[0]
        yield Source(package, ast.parse(path.read_text(encoding="utf-8")), part not in UNSEEN)


def failure_classes(
    candidates: Iterable[tuple[str, ast.ClassDef]], pictured: Mapping[str, str]
) -> dict[str, FailureClass]:
    """`Failure` and all that derives from it, found by name until no more are found."""
    candidates, found, before = list(candidates), dict[str, FailureClass](), -1
    while len(found) > before:
        before = len(found)
        for package, node in candidates:
            base = next((name for name in map(name_of, node.bases) if name in found), "")
            if node.name not in found and (base or node.name == ROOT_CLASS):
                found[node.name] = failure_class(package, node, base, pictured.get(node.name, ""))
    return found


def failure_class(package: str, node: ast.ClassDef, base: str, pictured: str) -> FailureClass:
    attributes = dict(constants(node.body))
    documented = (ast.get_docstring(node) or "").split("\n\n", maxsplit=1)[0]
    code, retryable = attributes.get("code"), attributes.get("retryable")
    return FailureClass(
        name=node.name,
        base=base,
        package=package,
        code=code if isinstance(code, str) else None,
        retryable=retryable if isinstance(retryable, bool) else None,
        meaning=sentence(pictured or documented),
    )


def tree_of(docstring: str) -> Iterator[tuple[str, str]]:
    """Name and meaning from a tree drawn in a docstring; a line that lists several names says nothing of them."""
    if ROOT_CLASS not in docstring:
        return
    for line in docstring.splitlines():
        drawn = TREE_LINE.match(line)
        if drawn and not drawn["meaning"][:1].isupper():
            yield drawn["name"], drawn["meaning"]


def constants(body: Iterable[ast.stmt]) -> Iterator[tuple[str, object]]:
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            yield from ((name_of(target), statement.value.value) for target in statement.targets)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Constant):
            yield name_of(statement.target), statement.value.value


def of_class(each: FailureClass, classes: Mapping[str, FailureClass]) -> FailureCode:
    """The class's own code, or the nearest one above it; likewise whether to try again."""
    line = list(ancestry(each, classes))
    return FailureCode(
        code=next(one.code for one in line if one.code),
        kind=each.name,
        package=each.package,
        meaning=each.meaning,
        retryable=next((one.retryable for one in line if one.retryable is not None), False),
    )


def ancestry(each: FailureClass, classes: Mapping[str, FailureClass]) -> Iterator[FailureClass]:
    yield each
    while each.base:
        each = classes[each.base]
        yield each


def raised_by(node: ast.Call, source: Source, classes: Mapping[str, FailureClass]) -> FailureCode | None:
    """What a call that makes a failure says: its own code or its class's, message and hint, if they are plain."""
    if name_of(node.func) not in classes:
        return None
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    declared = of_class(classes[name_of(node.func)], classes)
    code = words(given["code"]) if "code" in given else declared.code
    if not CODE.fullmatch(code) or not (source.seen or "code" in given):
        return None
    again = given.get("retryable")
    return FailureCode(
        code=code,
        kind=declared.kind,
        package=source.package,
        meaning=sentence(words(node.args[0])) if node.args else "",
        hint=sentence(words(given.get("hint"))),
        retryable=bool(again.value) if isinstance(again, ast.Constant) else declared.retryable,
    )


def words(node: ast.expr | None) -> str:
    """A literal as text; what is filled in at run time stands as `…`."""
    if isinstance(node, ast.Constant):
        return str(node.value) if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(words(part) or "…" for part in node.values)
    return ""


def sentence(text: str) -> str:
    """With a capital, unless it begins with a name such as `tools/list`, and with an end."""
    text = " ".join(text.split())
    first = text.partition(" ")[0]
    begun = text[:1].upper() + text[1:] if first.rstrip(",.:;").isalpha() else text
    return begun + ("" if not text or text.endswith((".", "!", "?", "…")) else ".")


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
