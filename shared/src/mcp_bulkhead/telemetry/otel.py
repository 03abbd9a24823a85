"""The OpenTelemetry form: measurements pushed over OTLP/HTTP, under the names of the MCP semantic conventions."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import Unsupported
from .facts import CALL_INSTRUMENTS, SESSION, Instrument, Labels, buckets_of
from .metrics import Gauge

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
except ImportError as error:
    raise Unsupported(
        "OpenTelemetry needs packages that are not installed.", hint='pip install "mcp-bulkhead[otel]"'
    ) from error

SCOPE = "mcp_bulkhead"
EXPORT_TIMEOUT_S = 5


class OtelSink:
    """Its own MeterProvider, not the process-wide one: the operator's other instrumentation stays untouched."""

    def __init__(
        self, service: str, endpoint: str, *, headers: Mapping[str, str] | None = None, export_interval_s: float = 15.0
    ) -> None:
        exporter = OTLPMetricExporter(
            endpoint=signal_url(endpoint, "metrics"),
            headers=dict(headers) if headers else None,
            timeout=EXPORT_TIMEOUT_S,
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=export_interval_s * 1_000)
        self._provider = MeterProvider([reader], resource=resource_of(service), shutdown_on_exit=False)
        self._meter = self._provider.get_meter(SCOPE)
        self._metrics = {one.name: self._made(one) for one in (*CALL_INSTRUMENTS, SESSION)}

    def record(self, instrument: Instrument, value: float, labels: Labels) -> None:
        attributes = {name: labels[name] for name in (*instrument.labels, *instrument.wide) if labels[name]}
        self._metrics[instrument.name](value, attributes)

    def add_gauge(self, gauge: Gauge) -> None:
        def observed(_options: CallbackOptions) -> Iterable[Observation]:
            value = gauge.now()
            return () if value is None else (Observation(value),)

        self._meter.create_observable_gauge(gauge.name, [observed], gauge.unit, gauge.help)

    def close(self) -> None:
        self._provider.shutdown()

    def _made(self, instrument: Instrument) -> Callable[[float, dict[str, str]], Any]:
        if instrument.kind == "counter":
            return self._meter.create_counter(instrument.name, instrument.unit, instrument.help).add
        return self._meter.create_histogram(
            instrument.name,
            instrument.unit,
            instrument.help,
            explicit_bucket_boundaries_advisory=buckets_of(instrument),
        ).record


def resource_of(service: str) -> Resource:
    return Resource.create({"service.name": service})


def signal_url(endpoint: str, signal: str) -> str:
    """`http://host:4318` is what people configure; a full path to the signal is taken as it is."""
    path = f"/v1/{signal}"
    return endpoint if endpoint.endswith(path) else endpoint.rstrip("/") + path
