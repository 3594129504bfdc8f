"""What the gateway tells about itself: Prometheus metrics and a log, neither with patient data.

Metric labels are route templates, archive ids and words from fixed lists. The log passes an
allow-list of fields; the text of an exception is never logged, since it may quote an answer.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TextIO

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gateway.adapters.log_lines import LogLines, RequestLines
from gateway.adapters.request_metrics import Counts, Durations, RequestMetrics, Tally
from gateway.rules.blanks import Blanks

DURATION_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

LOGGED_FIELDS = frozenset(
    {
        "event", "level", "timestamp", "exception", "logger", "where",
        "request_id", "route", "method", "status", "duration_ms", "bytes",
        "archive", "archives", "cause", "reason", "layer", "outcome", "count", "seconds",
        "host", "port", "workers", "version", "mode", "setting", "line", "column", "signal",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """How each request of a kind is told of: `line` with blanks for its id, time and duration."""

    tally: Tally
    line: Blanks


class Telemetry:
    """The metrics of one process, in a registry of their own, and its log of requests."""

    def __init__(self) -> None:
        """Logs requests to where the log goes now."""
        self._log = structlog.get_logger().bind()
        lines = structlog.get_config()["logger_factory"]()
        self._lines = lines if isinstance(lines, LogLines) else None
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = RequestMetrics(DURATION_BUCKETS)
        self.registry.register(self._requests)
        self._forms = RequestLines()
        self._in_flight = 0
        Gauge(
            "gateway_requests_in_flight", "Requests under way.", registry=self.registry
        ).set_function(lambda: self._in_flight)
        self._archive_requests = Counts(
            "gateway_archive_requests", "Requests to archives by outcome.", "archive", "outcome"
        )
        self._archive_durations = Durations(
            "gateway_archive_first_byte_seconds",
            "Until the archive's first byte.",
            "archive",
            DURATION_BUCKETS,
        )
        self.registry.register(self._archive_requests)
        self.registry.register(self._archive_durations)
        self._cache_reads = Counts(
            "gateway_cache_reads", "Looks into the cache by layer and outcome.", "layer", "outcome"
        )
        self.registry.register(self._cache_reads)
        self._cache_trouble = self._counter(
            "gateway_cache_troubles", "Failures of the shared cache by cause.", "cause"
        )
        self._cache_bytes = Gauge(
            "gateway_cache_memory_bytes", "Size of the in-process cache.", registry=self.registry
        )

        self._process_lost = self._counter(
            "gateway_processes_lost", "Processes lost over foreign bytes.", "work", "cause"
        )

    def request_started(self) -> None:
        """A request came in."""
        self._in_flight += 1

    def request_handed_over(self) -> None:
        """A request that was started starts again."""
        self._in_flight -= 1

    def request_done(
        self,
        *,
        request_id: str,
        route: str,
        method: str,
        status: int,
        seconds: float,
        bytes_out: int,
    ) -> None:
        """A request that was started ended. `route` is its template, `status` what was sent."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        values = {b"id": request_id.encode(), b"at": now.encode()}
        self.request_told(self.kind(route, method, status), values, seconds, bytes_out)

    def kind(self, route: str, method: str, status: int) -> Kind:
        """What requests are, of which there are many of this kind."""
        kind = route, method, status
        return Kind(self._requests.tally(kind), self._forms.of(kind))

    def request_told(
        self, kind: Kind, values: dict[bytes, bytes], seconds: float, bytes_out: int
    ) -> None:
        """A request that was started ended. `values`: its `id`, and `at`, the time."""
        self._in_flight -= 1
        kind.tally.add(seconds, bytes_out)
        values[b"ms"] = b"%.1f" % (seconds * 1000)
        self._tell(kind.line.filled(values).decode())

    def repeated(
        self, kind: Kind, layer: str, values: Mapping[bytes, bytes], bytes_out: int
    ) -> None:
        """A request was answered at once, out of a layer of the cache.

        `values`: its `id`, `at`, the time, and `ms`: none.
        """
        kind.tally.add_short(bytes_out)
        self._cache_reads.values[layer, "hit"] += 1
        self._tell(kind.line.filled(values).decode())

    def _tell(self, line: str) -> None:
        if self._lines is None:
            self._log.info(**orjson.loads(line))
        else:
            self._lines.info(line)

    def close(self) -> None:
        """Writes what of the log still waits."""
        if self._lines is not None:
            self._lines.flush()

    def archive_answered(self, archive: str, outcome: str, seconds: float) -> None:
        """An archive's first byte came, or did not. `outcome`: `ok`, or the code of the error."""
        self._archive_requests.values[archive, outcome] += 1
        self._archive_durations.of(archive).add(seconds)

    def cache_read(self, layer: str, outcome: str) -> None:
        """A look into a cache.

        `layer`: memory, redis; `outcome`: hit, stale, miss, join, garbage, error.
        """
        self._cache_reads.values[layer, outcome] += 1

    def cache_reads(self) -> dict[str, int]:
        """How many looks there were so far, by `layer outcome`."""
        return {" ".join(labels): count for labels, count in self._cache_reads.values.items()}

    def cache_trouble(self, cause: str) -> None:
        """The shared cache failed: late, unreachable, refused, loading, full, read-only, other."""
        self._cache_trouble(cause).inc()

    def cache_size(self, bytes_held: int) -> None:
        """How many bytes the in-process cache holds now."""
        self._cache_bytes.set(bytes_held)

    def process_lost(self, work: str, cause: str) -> None:
        """A process that reads foreign bytes was lost.

        `work`: pictures, files; `cause`: crash (its processor time used up included), late,
        killed (from outside), start.
        """
        self._process_lost(work, cause).inc()

    def exposition(self) -> tuple[bytes, str]:
        """All metrics as Prometheus reads them, and their content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, documentation: str, *labels: str) -> Callable[..., Counter]:
        """The counter of some values of the labels, which are few, at hand once asked for."""
        return cache(Counter(name, documentation, labels, registry=self.registry).labels)


def configure_log(stream: TextIO) -> None:
    """Send the log of the gateway and of its libraries to `stream`: for people on a TTY, else JSON.

    Library messages are reduced to their origin and exception: their text may hold addresses,
    paths or names.
    """
    is_tty = stream.isatty()
    lines = LogLines(stream)
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=True)
        if is_tty
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exception,
        _only_allowed,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream) if is_tty else lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_LibraryMessages()]
    root.setLevel(logging.WARNING)


def _json(event: object, default: Callable[[Any], Any]) -> str:
    return orjson.dumps(event, default=default).decode()


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
