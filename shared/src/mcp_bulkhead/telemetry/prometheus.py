"""The Prometheus form: its own registry, nothing of the process-wide default in it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import Unsupported
from .facts import CALL_INSTRUMENTS, SESSION, Instrument, Labels, buckets_of
from .metrics import Gauge

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
    from prometheus_client.registry import Collector
except ImportError as error:
    raise Unsupported(
        "Prometheus metrics need a package that is not installed.", hint='pip install "mcp-bulkhead[prometheus]"'
    ) from error

__all__ = ["CONTENT_TYPE", "PrometheusSink"]

UNITS: Mapping[str, str] = {"s": "seconds", "By": "bytes", "": ""}


class PrometheusSink:
    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._metrics = {one.name: self._made(one) for one in (*CALL_INSTRUMENTS, SESSION)}
        self._gauges: list[Gauge] = []
        self._registry.register(Gauges(self._gauges))

    def record(self, instrument: Instrument, value: float, labels: Labels) -> None:
        child = self._metrics[instrument.name].labels(*(labels[name] for name in instrument.labels))
        if instrument.kind == "histogram":
            child.observe(value)
        else:
            child.inc(value)

    def add_gauge(self, gauge: Gauge) -> None:
        self._gauges.append(gauge)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def close(self) -> None:
        """Nothing waits: a scraper that did not come in time sees the gap."""

    def _made(self, instrument: Instrument) -> Any:
        names = [plain(label) for label in instrument.labels]
        if instrument.kind == "counter":
            return Counter(plain(instrument.name), instrument.help, names, registry=self._registry)
        unit, buckets = UNITS[instrument.unit], buckets_of(instrument)
        return Histogram(
            plain(instrument.name), instrument.help, names, unit=unit, buckets=buckets, registry=self._registry
        )


class Gauges(Collector):
    """Reads every gauge at the moment of the scrape; one that cannot be told is left out."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for gauge in self._gauges:
            value = gauge.now()
            if value is not None:
                yield GaugeMetricFamily(plain(gauge.name), gauge.help, value=value, unit=UNITS[gauge.unit])


def plain(name: str) -> str:
    return name.replace(".", "_")
