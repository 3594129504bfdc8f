"""Counts of answered requests as plain numbers, turned into metrics only when somebody asks.

A counter of the Prometheus library costs a lock and a look-up for each request; an event loop needs
neither.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(slots=True)
class _Durations:
    """How long things took; `within[n]`: how many within the nth limit and no earlier."""

    within: list[int]
    seconds: float = 0.0


class Counts(Collector):
    """A counter by some labels; its `values` are counted up by whoever counts."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self.values: Counter[tuple[str, ...]] = Counter()

    def collect(self) -> Iterable[Metric]:
        """The counter as it stands."""
        told = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, count in self.values.items():
            told.add_metric(labels, count)
        return (told,)


class Durations(Collector):
    """A histogram of durations by one label."""

    def __init__(
        self, name: str, documentation: str, label: str, limits_seconds: Sequence[float]
    ) -> None:
        """`limits_seconds`: the upper ends of the buckets but the last, rising."""
        self._name, self._documentation, self._label = name, documentation, label
        self._limits = limits_seconds
        self._by_label: dict[str, _Durations] = {}

    def observe(self, label: str, seconds: float) -> None:
        """Something took so long."""
        found = self._of(label)
        found.within[bisect_left(self._limits, seconds)] += 1
        found.seconds += seconds

    def add_short(self, label: str, count: int) -> None:
        """So many took no time worth telling."""
        self._of(label).within[0] += count

    def collect(self) -> Iterable[Metric]:
        """The histogram as it stands."""
        told = HistogramMetricFamily(self._name, self._documentation, labels=(self._label,))
        limits = [*(str(float(limit)) for limit in self._limits), "+Inf"]
        for label, one in self._by_label.items():
            buckets = list(zip(limits, accumulate(one.within), strict=True))
            told.add_metric((label,), buckets, one.seconds)
        return (told,)

    def _of(self, label: str) -> _Durations:
        found = self._by_label.get(label)
        if found is None:
            found = self._by_label[label] = _Durations([0] * (len(self._limits) + 1))
        return found


@dataclass(slots=True)
class Tally:
    """How many answers of one kind took no time worth telling, and how many bytes they had."""

    count: int = 0
    bytes_out: int = 0


class RequestMetrics(Collector):
    """How many requests were answered, how fast, and how many bytes went out, by route."""

    def __init__(self, limits_seconds: Sequence[float]) -> None:
        """`limits_seconds`: the upper ends of the histogram's buckets but the last, rising."""
        self._durations = Durations(
            "gateway_request_duration_seconds",
            "From first byte in to last byte out.",
            "route",
            limits_seconds,
        )
        self._answered: Counter[tuple[str, str, int]] = Counter()
        self._bytes_out: Counter[str] = Counter()
        self._tallies: dict[tuple[str, str, int], Tally] = {}

    def done(self, route: str, method: str, status: int, seconds: float, bytes_out: int) -> None:
        """A request was answered."""
        self._answered[route, method, status // 100] += 1
        self._durations.observe(route, seconds)
        self._bytes_out[route] += bytes_out

    def tally(self, route: str, method: str, status: int) -> Tally:
        """What counts answers at once, which `done` need not be told of."""
        return self._tallies.setdefault((route, method, status), Tally())

    def _take_tallies(self) -> None:
        for (route, method, status), tally in self._tallies.items():
            self._answered[route, method, status // 100] += tally.count
            self._durations.add_short(route, tally.count)
            self._bytes_out[route] += tally.bytes_out
            tally.count = tally.bytes_out = 0

    def collect(self) -> Iterable[Metric]:
        """The metrics as they stand."""
        self._take_tallies()
        answered = CounterMetricFamily(
            "gateway_requests", "Answered requests.", labels=("route", "method", "status")
        )
        for (route, method, kind), count in self._answered.items():
            answered.add_metric((route, method, f"{kind}xx"), count)
        out = CounterMetricFamily("gateway_response_bytes", "Body bytes sent.", labels=("route",))
        for route, count in self._bytes_out.items():
            out.add_metric((route,), count)
        return answered, *self._durations.collect(), out
