"""`mcp-bulkhead demo`: every installed server in its example world, driven by a real client over stdio."""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import Failure, Missing
from .spec import Example, ServerSpec, World, installed_specs

if TYPE_CHECKING:
    from mcp.client import Client
    from rich.console import Console

SHOWN_CALLS: Final = 4
SHOWN_LINES: Final = 12
DEMO_S: Final = 120.0


def demo(names: Sequence[str]) -> int:
    """Show the named servers, or all. Ends with 0 only when every example did what it says."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        raise Failure("The demo draws with rich.", hint='pip install "mcp-bulkhead[demo]"') from None
    console = Console(width=None if sys.stdout.isatty() else 110)
    specs = installed_specs(names or None)
    if not specs:
        names_known = ", ".join(spec.name for spec in installed_specs())
        raise Missing("No such server is installed.", hint=f"Installed: {names_known or 'none'}.")
    wrong = sum(show(console, spec) for spec in specs)
    console.print(
        "\n[bold green]Everything shown above really ran.[/]"
        if not wrong
        else f"\n[bold red]{wrong} examples went wrong.[/]"
    )
    return 1 if wrong else 0


def show(console: "Console", spec: ServerSpec) -> int:
    import anyio

    with tempfile.TemporaryDirectory(prefix="bulkhead-demo-") as folder, spec.world(Path(folder) / "world") as world:
        state = Path(folder) / "state"
        console.rule(f"[bold]{spec.title}[/]  {spec.command} {spec.version}")
        console.print(f"{spec.summary}\n")
        wrong = anyio.run(drive, console, spec, world, state)
        show_audit(console, spec, state)
        show_config(console, spec)
    return wrong


async def drive(console: "Console", spec: ServerSpec, world: World, state: Path) -> int:
    import anyio
    from mcp.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    arguments = ["-m", spec.module, *world.arguments, "--state-dir", str(state)]
    started = time.perf_counter()
    with anyio.fail_after(DEMO_S):
        parameters = StdioServerParameters(command=sys.executable, args=arguments, env=dict(world.environment) or None)
        async with Client(stdio_client(parameters)) as client:
            console.print(f"[dim]started and answered in {(time.perf_counter() - started) * 1000:.0f} ms[/]\n")
            await show_tools(console, client)
            examples = [each for each in spec.examples() if each.kind == "tool"]
            wrong = 0
            for example in chosen(examples):
                wrong += await show_call(console, client, example, world)
    return wrong


def chosen(examples: Sequence[Example]) -> list[Example]:
    """The calls worth showing: those that say why, good ones first, and one that is refused."""
    good = [each for each in examples if not each.hostile]
    useful = sorted(good, key=lambda each: not each.why)[:SHOWN_CALLS]
    refused = [each for each in examples if each.hostile and each.why]
    return [*useful, *refused[:1]]


async def show_tools(console: "Console", client: "Client") -> None:
    from rich.table import Table

    from .publish.readme import first_sentence, without_opening

    table = Table("tool", "what for", "changes something", box=None, pad_edge=False)
    for tool in (await client.list_tools()).tools:
        first = without_opening(first_sentence(tool.description or ""))
        reads = tool.annotations is not None and tool.annotations.read_only_hint
        table.add_row(f"[bold]{tool.name}[/]", first, "no" if reads else "[yellow]yes[/]")
    console.print(table)


async def show_call(console: "Console", client: "Client", example: Example, world: World) -> int:
    """One call and its answer; 1 when it did not do what the example says."""
    from rich.markup import escape
    from rich.panel import Panel

    arguments = example.given(world)
    result: Any = await client.call_tool(example.name, arguments)
    text = next((block.text for block in result.content if block.type == "text"), "")
    expected = failed_as(result, example.code) if example.hostile else not result.is_error
    lines = text.splitlines()
    shown = "\n".join(lines[:SHOWN_LINES]) + (
        f"\n… {len(lines) - SHOWN_LINES} more lines" if len(lines) > SHOWN_LINES else ""
    )
    given = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    call = f"{example.name}({given})"
    style = "red" if not expected else "yellow" if example.hostile else "green"
    console.print()
    console.print(f"[dim]{escape(example.why)}[/]" if example.why else "")
    console.print(Panel(escape(shown), title=escape(call), title_align="left", border_style=style))
    return 0 if expected else 1


def failed_as(result: Any, code: str | None) -> bool:
    meta: dict[str, Any] = result.meta or {}
    error: dict[str, Any] = meta.get("io.github.mcp-bulkhead/error", {})
    return bool(result.is_error) and error.get("code") == code


def show_audit(console: "Console", spec: ServerSpec, state: Path) -> None:
    """What the operator sees afterwards, and whether anybody touched it."""
    from rich.markup import escape

    from .audit import query, verify

    folder = state / spec.name / "audit"
    console.print("\n[bold]What the audit wrote[/]")
    for record in [each for each in query(folder) if each.get("method") == "tools/call"][-3:]:
        keys = ("time", "caller", "name", "targets", "decision", "rule", "status", "duration_ms")
        line = json.dumps({key: record.get(key) for key in keys}, ensure_ascii=False)
        console.print(escape(line), style="dim", soft_wrap=True)
    console.print(escape(str(verify(folder))))


def show_config(console: "Console", spec: ServerSpec) -> None:
    from rich.markup import escape

    from .publish.clients import client_config
    from .publish.installed import completed, runnable
    from .settings import describe

    console.print("\n[bold]To use it in Claude Desktop[/] (others: --print-config CLIENT)")
    command, arguments = runnable(spec)
    given, env = completed([], describe(spec.settings(), spec.name))
    where, text = client_config(spec, "claude-desktop", command=command, args=[*arguments, *given], env=env)
    console.print(f"[dim]{escape(where)}[/]\n{escape(text)}")
