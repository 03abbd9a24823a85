"""What is counted. Nothing is imported and next to nothing is spent until somebody wants to see it."""

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from .contained import contained
from .facts import CALL_INSTRUMENTS, SESSION, CallFacts, Instrument, Labels, Vocabulary

SHUTDOWN_S = 0.2


@dataclass(frozen=True)
class Gauge:
    """A level, read when it is asked for. None: cannot be told on this system, or right now."""

    name: str
    help: str
    unit: str
    read: Callable[[], float | None]

    def now(self) -> float | None:
        value = contained(self.read, None)
        return None if value is None or math.isnan(value) else value


class Closing(Protocol):
    def close(self) -> None: ...


class Sink(Closing, Protocol):
    """A place where measurements go."""

    def record(self, instrument: Instrument, value: float, labels: Labels) -> None: ...
    def add_gauge(self, gauge: Gauge) -> None: ...


class Rendering(Sink, Protocol):
    """A sink that can be read back as text, for /metrics."""

    def render(self) -> bytes: ...


@dataclass
class Telemetry:
    """Where the pipeline reports its calls."""

    sinks: tuple[Sink, ...] = ()
    page: Rendering | None = None
    tracing: Closing | None = None
    vocabulary: Vocabulary = field(default_factory=Vocabulary)

    def observe_call(self, facts: CallFacts) -> None:
        if self.sinks:
            contained(lambda: self._record(facts), None)

    def observe_session(
        self,
        duration_s: float,
        *,
        protocol_version: str | None,
        transport: Literal["pipe", "tcp"],
        error_type: str | None = None,
    ) -> None:
        facts = CallFacts(
            method="initialize",
            status="ok" if error_type is None else "server_error",
            duration_s=duration_s,
            protocol_version=protocol_version,
            transport=transport,
            error_type=error_type,
        )
        labels = self.vocabulary.labels_of(facts)
        for sink in self.sinks:
            contained(lambda sink=sink: sink.record(SESSION, duration_s, labels), None)

    def register_gauge(self, name: str, read: Callable[[], float | None], *, help: str, unit: str = "") -> None:  # noqa: A002
        """`read` is called when the metrics are collected, perhaps on another thread."""
        for sink in self.sinks:
            sink.add_gauge(Gauge(f"mcp_bulkhead.{name}", help, unit, read))

    def render(self) -> bytes | None:
        """The Prometheus page, or None when that form is not enabled."""
        return self.page.render() if self.page else None

    def close(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Send what is left, all sinks at once. A collector that is down must not hold up our exit: clients retry."""
        closing = [threading.Thread(target=contained, args=(one.close, None), daemon=True) for one in self.closing()]
        for thread in closing:
            thread.start()
        deadline = time.monotonic() + timeout_s
        for thread in closing:
            thread.join(max(0.0, deadline - time.monotonic()))

    def closing(self) -> tuple[Closing, ...]:
        return (*self.sinks, *([self.tracing] if self.tracing else []))

    def _record(self, facts: CallFacts) -> None:
        labels = self.vocabulary.labels_of(facts)
        for instrument in CALL_INSTRUMENTS:
            value = instrument.value(facts)
            if value is not None:
                for sink in self.sinks:
                    sink.record(instrument, value, labels)


def open_telemetry(
    service: str,
    *,
    otlp_endpoint: str | None = None,
    otlp_headers: Mapping[str, str] | None = None,
    prometheus: bool = False,
    export_interval_s: float = 15.0,
) -> Telemetry:
    """The measurements the operator asked for; with neither form enabled it costs nothing."""
    sinks: list[Sink] = []
    page: Rendering | None = None
    if otlp_endpoint:
        from .otel import OtelSink

        sinks.append(OtelSink(service, otlp_endpoint, headers=otlp_headers, export_interval_s=export_interval_s))
    if prometheus:
        from .prometheus import PrometheusSink

        page = PrometheusSink()
        sinks.append(page)
    telemetry = Telemetry(tuple(sinks), page=page)
    register_process_gauges(telemetry)
    return telemetry


def register_process_gauges(telemetry: Telemetry) -> None:
    telemetry.register_gauge("process.open_fds", open_fds, help="Open file descriptors.")
    telemetry.register_gauge("process.resident_memory", resident_bytes, help="Resident memory.", unit="By")
    telemetry.register_gauge("process.children", children, help="Child processes, zombies included.")


def open_fds() -> float | None:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return sum(1 for _ in Path(folder).iterdir()) - 1  # less the one that is reading the list
        except OSError:
            continue
    return None


def resident_bytes() -> float | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def children() -> float | None:
    """A child belongs to the thread that started it."""
    try:
        tasks = [task / "children" for task in Path("/proc/self/task").iterdir()]
        return sum(len(task.read_text().split()) for task in tasks)
    except OSError:
        return None
