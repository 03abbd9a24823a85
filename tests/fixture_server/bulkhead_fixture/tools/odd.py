"""What no server should do, so that the pipeline can show what it does about it."""

from mcp_bulkhead import Text, current_call, tool

from ..models import Again, Backend, Count, Name, Seconds, Words


class AccidentError(RuntimeError):
    """Nobody expects it."""


@tool(toolset="odd", effect="read", scope="fx.odd", title="Wait", deadline=30)
async def fx_slow(playground: Backend, seconds: Seconds, name: Name = "slow") -> Text:
    """Use this to wait.

    Up to a minute; can be cancelled at any time.
    """
    await playground.wait(seconds, name)
    return Text(f"waited {seconds} seconds")


@tool(toolset="odd", effect="read", scope="fx.odd", title="Miss a deadline", deadline=0.2)
async def fx_late(playground: Backend, seconds: Seconds = 30, name: Name = "late") -> Text:
    """Use this to take longer than the fifth of a second that it may."""
    await playground.wait(seconds, name)
    return Text("in time")


@tool(toolset="odd", effect="read", scope="fx.odd", title="Get stuck")
async def fx_stuck(playground: Backend, seconds: Seconds, name: Name = "stuck") -> Text:
    """Use this to leave a thread behind that nothing can stop."""
    await playground.block_a_thread(seconds, name)
    return Text("free again")


@tool(toolset="odd", effect="read", scope="fx.odd", title="Raise a child")
async def fx_child(playground: Backend, seconds: Seconds, name: Name = "child") -> Text:
    """Use this to run another process for a while."""
    await playground.run_child(seconds, name)
    return Text("grown up")


@tool(toolset="odd", effect="read", scope="fx.odd", title="Make noise")
async def fx_noise(playground: Backend, text: Words = "noise on standard output") -> Text:
    """Use this to print where only the protocol may speak."""
    playground.make_noise(text)
    return Text("quiet again")


@tool(toolset="odd", effect="read", scope="fx.odd", title="Have an accident")
async def fx_crash(text: Words = "boom") -> Text:
    """Use this to meet an error nobody expected; the text "calm" brings none."""
    if text != "calm":
        raise AccidentError(text)
    return Text(text)


@tool(toolset="odd", effect="read", scope="fx.odd", title="Lose heart")
async def fx_quit(playground: Backend, again: Again = True) -> Text:
    """Use this to meet a library that was cancelled from inside."""
    if again:
        await playground.lose_heart()
    return Text("took heart")


@tool(toolset="odd", effect="read", scope="fx.odd", title="Give too much", untrusted=True)
async def fx_flood(lines: Count = 10_000) -> Text:
    """Use this to get more lines than one answer may hold."""
    return Text("".join(f"line {number}\n" for number in range(lines)))


@tool(toolset="odd", effect="read", scope="fx.odd", title="Give what cannot be seen", untrusted=True)
async def fx_hidden() -> Text:
    """Use this to get surrogates, bidi marks and control characters."""
    return Text("name\udcff \u202eright to left\u200b zero\x07 bell")


@tool(toolset="odd", effect="read", scope="fx.odd", title="Report progress")
async def fx_steps(count: Count = 5) -> Text:
    """Use this to hear how far a call is."""
    for number in range(count):
        await current_call().progress(number + 1, count, "working")
    return Text("done")
