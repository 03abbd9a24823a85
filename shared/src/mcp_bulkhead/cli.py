"""`mcp-bulkhead`: what is installed, shown, documented and checked, and the start of a server of your own."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from .errors import Failure
from .settings import SettingsError

AUDIT_WHERE = "a state folder or audit folder (default: this user's state folder, all servers)"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="mcp-bulkhead",
        description="Bulkhead: narrow, production-grade MCP servers on one library.",
        epilog="Each server has its own command, for example: mcp-bulkhead-filesystem --help",
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    demo = commands.add_parser("demo", help="start every installed server in a throw-away world and show what it does")
    demo.add_argument("servers", nargs="*", metavar="SERVER", help="only these (default: all installed)")

    for_new(commands.add_parser("new", help="start a server of your own from an existing one"))

    docs = commands.add_parser("docs", help="write everything that is generated from the running servers")
    docs.add_argument("--check", action="store_true", help="change nothing; exit 1 when something is out of date")
    docs.add_argument("--root", type=Path, default=None, metavar="DIR", help="the clone (default: found from here)")

    config = commands.add_parser("client-config", help="print the configuration of one server for one client")
    config.add_argument("server")
    config.add_argument("client")
    config.add_argument("arguments", nargs="*", help="what the server is started with (after --)")

    commands.add_parser("doctor", help="what is there, what is missing, and the exact fix")

    audit = commands.add_parser("audit", help="verify or search the record of calls")
    actions = audit.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="name every edited, dropped, reordered or truncated record")
    verify.add_argument("directory", type=Path, nargs="?", default=None, help=AUDIT_WHERE)
    verify.add_argument("--public-key", type=Path, default=None, help="trust only checkpoints signed with this key")
    verify.add_argument("--anchors", type=Path, default=None, help="signed heads kept elsewhere, one a line")
    verify.add_argument("--heads", action="store_true", help="print the signed heads, to be kept elsewhere")
    verify.add_argument("--json", action="store_true", help="print the report for a machine")
    query = actions.add_parser("query", help="who touched this? JSON lines, oldest first")
    query.add_argument("directory", type=Path, nargs="?", default=None, help=AUDIT_WHERE)
    for name, what in (("target", "a path, table, ticket (globs allowed)"), ("tool", "a tool"), ("caller", "a caller")):
        query.add_argument(f"--{name}", default=None, help=what)
    for name in ("since", "until"):
        query.add_argument(f"--{name}", type=moment, default=None, help="an ISO date or time")
    query.add_argument("--limit", type=int, default=None, help="only the newest N")

    contract = commands.add_parser("contract", help="run the contract suite against the installed servers")
    contract.add_argument("arguments", nargs="*", help="arguments for pytest, such as --bulkhead-server NAME")

    commands.add_parser("lint", help="check the descriptions and schemas of the installed servers")
    return top


def moment(text: str) -> datetime:
    """An ISO date or time; without a zone it is this machine's."""
    return datetime.fromisoformat(text).astimezone()


def for_new(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help="2 to 20 of [a-z0-9]")
    parser.add_argument("--from", dest="source", default="filesystem", metavar="SERVER", help="a server, or its folder")
    parser.add_argument("--tool-prefix", metavar="P", help="prefix of its tool names (default: from NAME)")
    where = "where to (default: servers/NAME in a clone, else ./NAME)"
    parser.add_argument("dir", nargs="?", metavar="DIR", help=where)
    return parser


def understood(top: argparse.ArgumentParser, given: list[str]) -> argparse.Namespace:
    """What argparse cannot take in a subcommand: `new NAME --from SERVER DIR`, and options meant for pytest."""
    if given[:1] == ["contract"] and given[1:2] not in (["-h"], ["--help"]):
        return argparse.Namespace(command="contract", version=False, arguments=given[1:])
    if given[:1] != ["new"]:
        return top.parse_args(given)
    options = for_new(argparse.ArgumentParser(prog="mcp-bulkhead new")).parse_intermixed_args(given[1:])
    options.command, options.version = "new", False
    return options


def main(argv: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if argv is None else argv)
    top = parser()
    options = understood(top, given)
    try:
        code = act(top, options)
    except (Failure, SettingsError) as failure:
        print(f"mcp-bulkhead: {failure.message}", file=sys.stderr)
        if failure.hint:
            print(failure.hint, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


def act(top: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.version:
        from importlib.metadata import version

        print(f"mcp-bulkhead {version('mcp-bulkhead')}")
        return 0
    match options.command:
        case "demo":
            from .demo import demo

            return demo(options.servers)
        case "new":
            return new(options)
        case "docs":
            from .publish.commands import docs_command

            return docs_command(root_of(options.root), check=options.check)
        case "client-config":
            from .publish.commands import client_config_command

            return client_config_command(options.server, options.client, options.arguments)
        case "doctor":
            from .checkup import doctor

            return doctor()
        case "audit":
            return audit_verify(options) if options.action == "verify" else audit_query(options)
        case "contract":
            return contract(options.arguments)
        case "lint":
            from .publish.commands import lint_command

            return lint_command()
        case _:
            top.print_help()
            return 0


def root_of(named: Path | None) -> Path:
    from .scaffold import find_checkout

    root = named or find_checkout(Path.cwd())
    if root is None:
        raise Failure("This is not a clone of the repository.", hint="Run it inside one, or name it with --root.")
    return root


def new(options: argparse.Namespace) -> int:
    import tempfile

    from .scaffold import add_dockerfile, create, find_checkout, server_name, source_folder

    checkout = find_checkout(Path.cwd())
    into = Path(options.dir) if options.dir else (checkout / "servers" if checkout else Path.cwd()) / options.name
    with tempfile.TemporaryDirectory(prefix="bulkhead-new-") as scratch:
        source = source_folder(options.source, checkout, Path(scratch))
        written = create(options.name, source=source, prefix=options.tool_prefix, into=into)
        inside = checkout is not None and into.resolve().parent == (checkout / "servers").resolve()
        if inside and checkout is not None:
            add_dockerfile(checkout, server_name(source), options.name)
    print(f"{len(written)} files in {into}")
    print("Next:" if inside else "Next (in a virtual environment):")
    for step in next_steps(options.name, into, inside=inside):
        print(f"  {step}")
    return 0


def next_steps(name: str, into: Path, *, inside: bool) -> tuple[str, ...]:
    if inside:
        return (
            "scripts/docs",
            f"scripts/test -- -k {name}",
            f"edit servers/{name}: settings, backend, tools, examples",
        )
    return (
        f"pip install -e {into}",
        f"mcp-bulkhead-{name} --demo",
        f"mcp-bulkhead contract --bulkhead-server {name}",
    )


def audit_folders(given: Path | None) -> list[Path]:
    """The audit folders below a state folder, a server's folder or an audit folder."""
    from .settings import default_state_dir
    from .settings.environment import process_environment

    start = given or default_state_dir(process_environment())
    found = [start] if start.name == "audit" else sorted({*start.glob("audit"), *start.glob("*/audit")})
    found = [folder for folder in found if folder.is_dir()] or ([start] if (start / "audit.key").exists() else [])
    if not found:
        raise Failure(
            f"There is no audit log at {start}.",
            hint="Name the folder given as --state-dir; --check shows where it is.",
        )
    return found


def audit_verify(options: argparse.Namespace) -> int:
    return max(verify_one(folder, options) for folder in audit_folders(options.directory))


def verify_one(folder: Path, options: argparse.Namespace) -> int:
    from .audit import verify

    report = verify(folder, public_key=options.public_key, anchors=options.anchors)
    if options.heads:
        print("\n".join(report.heads))
    else:
        print(json.dumps(report.as_dict(), indent=1) if options.json else report)
    return 0 if report.ok else 1


def audit_query(options: argparse.Namespace) -> int:
    from .audit import query

    names = ("target", "tool", "caller", "since", "until", "limit")
    asked = {name: getattr(options, name) for name in names}
    for folder in audit_folders(options.directory):
        for record in query(folder, **asked):
            print(json.dumps(record, ensure_ascii=True))
    return 0


def contract(arguments: Sequence[str]) -> int:
    try:
        import pytest
    except ModuleNotFoundError:
        raise Failure("The contract suite needs pytest.", hint='pip install "mcp-bulkhead[testing]"') from None
    chosen = [each for each in arguments if each != "--"]
    return int(pytest.main(["--pyargs", "mcp_bulkhead.testing.contract", *chosen]))
