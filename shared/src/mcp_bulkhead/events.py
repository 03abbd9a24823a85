"""What happened to the system behind a server, told to other programs: `file.written`, `ticket.replied`.

An event follows an effect that succeeded; a dry run, a failure and a replayed answer have none. Sinks are told by
threads of their own: a slow or broken one neither delays a call nor another sink, and what it misses is counted.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Protocol, cast

from .errors import Missing
from .telemetry.contained import contained

ENTRY_POINTS: Final = "mcp_bulkhead.event_sinks"
NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")
LOST: Final = "events.lost"
CAPACITY: Final = 10_000
AT_ONCE: Final = 64
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
log = logging.getLogger("mcp_bulkhead.events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One effect. `id` is the same in every delivery of it: a reader that has seen it may skip it."""

    name: str
    tenant: str
    actor: str
    target: str | None = None
    trace_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str = field(default_factory=lambda: token_hex(16))
    time: float = field(default_factory=time.time)


def event_of(
    name: str | None,
    *,
    tenant: str,
    actor: str,
    targets: Sequence[str] = (),
    trace_id: str | None = None,
    arguments: Mapping[str, Any],
    result: Mapping[str, Any] | None = None,
    shows: Sequence[str] = (),
    failed: bool = False,
    replayed: bool = False,
) -> Event | None:
    """The event of one call whose tool declares `name`, or None when nothing happened (again).

    Of the structured result only the fields named in `shows` are passed on: an event is no second way to the content.
    """
    found = result or {}
    if name is None or failed or replayed or arguments.get("dry_run") or found.get("applied") is False:
        return None
    data: dict[str, Any] = {key: found[key] for key in shows if key in found}
    if len(targets) > 1:
        data["targets"] = list(targets)
    target = targets[0] if targets else None
    return Event(name=name, tenant=tenant, actor=actor, target=target, trace_id=trace_id, data=data)


def check_name(name: str) -> str:
    """For the declaration: what it happened to, and what happened, `file.written`."""
    if not NAME.match(name) or name == LOST:
        raise TypeError(f"{name!r}: an event is named like file.written")
    return name


class EventSink(Protocol):
    """Takes events, in order, on a thread of its own; it may take its time."""

    def write(self, events: Sequence[Event]) -> None:
        """Keep or send `events`. After an `OSError` the same ones come again; after any other error they are lost."""
        ...

    def close(self) -> None: ...


SinkMaker = Callable[[str, Path], EventSink]
"""What an entry point of `mcp_bulkhead.event_sinks` names: from the server's name and its state directory, a sink."""


def installed_sinks(names: Sequence[str], *, server: str, state_dir: Path) -> dict[str, EventSink]:
    """The sinks the operator names. One that is merely installed gets no events."""
    from importlib.metadata import entry_points

    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    for name in names:
        if name not in found:
            raise Missing(
                f"There is no event sink {name!r} here.",
                code="no_such_sink",
                hint=f"Installed are: {', '.join(sorted(found)) or 'none'}.",
            )
    return {name: cast("SinkMaker", found[name].load())(server, state_dir) for name in names}


class Events:
    """Passes events on to every sink. `emit` takes microseconds, and never raises for a sink's sake.

    A sink gets every event at least once while the process lives and its queue has room. What a killed process had
    not yet passed on (milliseconds, when the sink keeps up) is in the audit only.
    """

    def __init__(self, sinks: Mapping[str, EventSink], *, capacity: int = CAPACITY) -> None:
        self.posts = tuple(Post(name, sink, capacity) for name, sink in sinks.items())

    def emit(self, event: Event) -> None:
        for post in self.posts:
            post.put(event)

    @property
    def lost(self) -> dict[str, int]:
        """By sink, how many events it never got."""
        return {post.name: post.lost for post in self.posts}

    def close(self, timeout_s: float = 1.0) -> None:
        """Deliver what waits; sinks that cannot take it within `timeout_s`, all together, lose it."""
        deadline = time.monotonic() + timeout_s
        for post in self.posts:
            post.begin_closing()
        for post in self.posts:
            post.finish_closing(max(0.0, deadline - time.monotonic()))


class Post:
    """The way to one sink: a bounded queue, and the thread that empties it."""

    def __init__(self, name: str, sink: EventSink, capacity: int) -> None:
        self.name = name
        self.sink = sink
        self.capacity = capacity
        self.changed = threading.Condition()
        self.waiting: list[Event] = []
        self.thread: threading.Thread | None = None
        self.closing = False
        self.lost = 0
        self.told = 0
        """How many of the lost ones the sink has been told of."""
        self.trouble: str | None = None

    def put(self, event: Event) -> None:
        with self.changed:
            if self.closing or len(self.waiting) >= self.capacity:
                self.lost += 1
                return
            self.waiting.append(event)
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name=f"events-{self.name}", daemon=True)
                self.thread.start()
            self.changed.notify()

    def begin_closing(self) -> None:
        with self.changed:
            self.closing = True
            self.changed.notify()

    def finish_closing(self, timeout_s: float) -> None:
        if self.thread is None:
            contained(partial(self.loudly, self.sink.close), None)
        else:
            self.thread.join(timeout_s)
        with self.changed:
            self.lost += len(self.waiting)
            self.waiting = []
        if self.lost:
            log.error("the event sink %s has missed %d events", self.name, self.lost)

    def run(self) -> None:
        pause = FIRST_PAUSE_S
        while batch := self.batch():
            if self.deliver(batch):
                pause = FIRST_PAUSE_S
            elif self.closing:
                break
            else:
                self.rest(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
        contained(partial(self.loudly, self.sink.close), None)

    def batch(self) -> list[Event]:
        """The next events, which stay in the queue until they are delivered; none when all is done."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closing)
            return self.waiting[:AT_ONCE]

    def rest(self, seconds: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.closing, seconds)

    def deliver(self, batch: Sequence[Event]) -> bool:
        """Whether `batch` is done with: taken by the sink, or lost on an error that would come again."""
        missing = self.lost - self.told
        note = [Event(name=LOST, tenant="", actor="server", data={"lost": missing})] if missing else []
        failed = 0
        taken = contained(partial(self.attempt, [*note, *batch]), None)
        if taken is None:  # one of them is poison: the others shall not be lost with it
            outcomes = [contained(partial(self.attempt, [event]), None) for event in batch]
            failed = outcomes.count(None)
            taken = False not in outcomes
        elif taken:
            self.told += missing
        if taken:
            with self.changed:
                del self.waiting[: len(batch)]
                self.lost += failed
        return taken

    def attempt(self, events: Sequence[Event]) -> bool:
        try:
            self.loudly(partial(self.sink.write, events))
        except OSError:
            return False
        self.trouble = None
        return True

    def loudly(self, act: Callable[[], None]) -> None:
        """An unchanged trouble is not said again."""
        try:
            act()
        except BaseException as error:
            trouble = f"{type(error).__name__}: {error}"
            if trouble != self.trouble:
                self.trouble = trouble
                log.exception("the event sink %s fails", self.name)
            raise
