"""What the gateway tells about itself: Prometheus metrics and a log, neither with patient data.

Metric labels are route templates, archive ids and words from fixed lists. The log passes an
allow-list of fields; the text of an exception is never logged, since it may quote an answer.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

DURATION_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

LOGGED_FIELDS = frozenset(
    {
        "event", "level", "timestamp", "exception", "logger", "where",
        "request_id", "route", "method", "status", "duration_ms", "bytes",
        "archive", "archives", "cause", "reason", "file", "layer", "outcome", "count", "seconds",
        "host", "port", "workers", "version", "mode", "setting", "line", "column", "signal",
    }
)  # fmt: skip


class Telemetry:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter(
            "gateway_requests", "Answered requests.", "route", "method", "status"
        )
        self._durations = self._histogram(
            "gateway_request_duration_seconds", "From first byte in to last byte out.", "route"
        )
        self._bytes_out = self._counter("gateway_response_bytes", "Body bytes sent.", "route")
        self._in_flight = Gauge(
            "gateway_requests_in_flight", "Requests under way.", registry=self.registry
        )
        self._archive_requests = self._counter(
            "gateway_archive_requests", "Requests to archives by outcome.", "archive", "outcome"
        )
        self._archive_durations = self._histogram(
            "gateway_archive_first_byte_seconds", "Until the archive's first byte.", "archive"
        )
        self._cache_reads = self._counter(
            "gateway_cache_reads", "Looks into the cache by layer and outcome.", "layer", "outcome"
        )
        self._cache_bytes = Gauge(
            "gateway_cache_memory_bytes", "Size of the in-process cache.", registry=self.registry
        )

    def request_started(self) -> None:
        """A request came in."""
        self._in_flight.inc()

    def request_done(
        self, *, route: str, method: str, status: int, seconds: float, bytes_out: int
    ) -> None:
        """A request that was started ended. `route` is its template, `status` what was sent."""
        self._in_flight.dec()
        self._requests.labels(route, method, f"{status // 100}xx").inc()
        self._durations.labels(route).observe(seconds)
        self._bytes_out.labels(route).inc(bytes_out)

    def archive_answered(self, archive: str, outcome: str, seconds: float) -> None:
        """An archive's first byte came, or did not. `outcome`: `ok`, or the code of the error."""
        self._archive_requests.labels(archive, outcome).inc()
        self._archive_durations.labels(archive).observe(seconds)

    def cache_read(self, layer: str, outcome: str) -> None:
        """A look into a cache. `layer`: memory, redis; `outcome`: hit, stale, miss, join, error."""
        self._cache_reads.labels(layer, outcome).inc()

    def cache_size(self, bytes_held: int) -> None:
        """How many bytes the in-process cache holds now."""
        self._cache_bytes.set(bytes_held)

    def exposition(self) -> tuple[bytes, str]:
        """All metrics as Prometheus reads them, and their content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, *labels: str) -> Histogram:
        return Histogram(
            name, documentation, labels, registry=self.registry, buckets=DURATION_BUCKETS
        )


def configure_log(stream: TextIO) -> None:
    """Send the log of the gateway and of its libraries to `stream`: for people on a TTY, else JSON.

    Library messages are reduced to their origin and exception: their text may hold addresses,
    paths or names.
    """
    is_tty = stream.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=True)
        if is_tty
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exception,
        _only_allowed,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_LibraryMessages()]
    root.setLevel(logging.WARNING)


class _LibraryMessages(logging.Handler):
    """Passes on that a library said something, where, and with which exception; not its text."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        log = structlog.get_logger()
        getattr(log, level)(
            "library message",
            logger=record.name,
            where=f"{record.module}:{record.lineno}",
            exc_info=record.exc_info,
        )


def _only_allowed(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """`event` without the fields that are not known to be free of patient data and secrets."""
    return {name: value for name, value in event.items() if name in LOGGED_FIELDS}


def _exception(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """`event` with `exc_info` turned into types and places, without the exceptions' texts."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else None
    if isinstance(given, tuple):
        error = given[1]
    elif given is True:
        error = sys.exception()
    if error is not None:
        event["exception"] = exception_places(error)
    return event


def exception_places(error: BaseException) -> str:
    """Type of `error` and its causes, each with file, line and function of every frame."""
    frames = " > ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    )
    text = f"{type(error).__name__} at {frames}" if frames else type(error).__name__
    cause = error.__cause__
    return f"{text}; from {exception_places(cause)}" if cause else text
