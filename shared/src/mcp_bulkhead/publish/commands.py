"""The command line's part of publishing. Each returns an exit code and tells a person, through `say`, what to know."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import Missing
from ..spec import ServerSpec, installed_specs
from .catalog import tools_json
from .clients import print_config
from .compat import compare
from .facts import Facts, gather_all
from .linter import lint
from .releases import gate, last_release
from .rendering import differing, put, render_facts, specs_of

Say = Callable[[str], object]


def docs_command(
    root: Path, *, check: bool = False, specs: Sequence[ServerSpec] | None = None, say: Say = print
) -> int:
    """Write every generated file; or, to check, name those that differ, what the linter finds and what would break."""
    all_facts = gather_all(specs_of(root) if specs is None else specs)
    files = render_facts(root, all_facts)
    if not check:
        for path in put(root, files):
            say(f"written: {path}")
        return 0
    stale = differing(root, files)
    for path in stale:
        say(f"{path} is not what the servers say: run scripts/docs")
    return max(int(bool(stale)), report_findings(all_facts, say), report_changes(root, all_facts, say))


def lint_command(*, specs: Sequence[ServerSpec] | None = None, say: Say = print) -> int:
    """What a model reads of every installed server, judged."""
    return report_findings(gather_all(installed_specs() if specs is None else specs), say)


def compat_command(root: Path, *, specs: Sequence[ServerSpec] | None = None, say: Say = print) -> int:
    """What changed since the last release, and whether the version admits it."""
    return report_changes(root, gather_all(specs_of(root) if specs is None else specs), say)


def client_config_command(server: str, client: str, arguments: Sequence[str] = ()) -> int:
    """The configuration of one client for one installed server."""
    found = installed_specs([server])
    if not found:
        known = ", ".join(spec.name for spec in installed_specs()) or "none"
        raise Missing(f"The server {server!r} is not installed here.", hint=f"Installed: {known}.")
    return print_config(found[0], client, arguments)


def report_findings(all_facts: Sequence[Facts], say: Say) -> int:
    findings = [finding for facts in all_facts for finding in lint(facts)]
    for finding in findings:
        say(str(finding))
    return int(bool(findings))


def report_changes(root: Path, all_facts: Sequence[Facts], say: Say) -> int:
    """Compared with the last release's tools.json; without a release there is nothing to break, and that is said."""
    code = 0
    for facts in all_facts:
        name = facts.spec.name
        together = (root / "servers").is_dir()
        released = last_release(root, f"servers/{name}/tools.json" if together else "tools.json")
        if released is None:
            say(f"{name}: no release to compare with")
            continue
        tag, old = released
        changes = compare(old, tools_json(facts))
        verdict = gate(str(old["version"]), facts.version, changes)
        for change in changes:
            say(f"{name} since {tag}: {change}")
        say(f"{name}: {verdict.message}")
        code = max(code, int(not verdict.passes))
    return code
