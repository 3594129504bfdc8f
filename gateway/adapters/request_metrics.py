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
class _Route:
    """What was answered on one route; `within[n]`: how many within the nth limit and no earlier."""

    within: list[int]
    seconds: float = 0.0
    bytes_out: int = 0


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


@dataclass(slots=True)
class Tally:
    """How many answers of one kind took no time worth telling, and how many bytes they had."""

    count: int = 0
    bytes_out: int = 0


class RequestMetrics(Collector):
    """How many requests were answered, how fast, and how many bytes went out, by route."""

    def __init__(self, limits_seconds: Sequence[float]) -> None:
        """`limits_seconds`: the upper ends of the histogram's buckets but the last, rising."""
        self._limits = limits_seconds
        self._answered: Counter[tuple[str, str, int]] = Counter()
        self._routes: dict[str, _Route] = {}
        self._tallies: dict[tuple[str, str, int], Tally] = {}

    def done(self, route: str, method: str, status: int, seconds: float, bytes_out: int) -> None:
        """A request was answered."""
        self._answered[route, method, status // 100] += 1
        found = self._route(route)
        found.within[bisect_left(self._limits, seconds)] += 1
        found.seconds += seconds
        found.bytes_out += bytes_out

    def tally(self, route: str, method: str, status: int) -> Tally:
        """What counts answers at once, which `done` need not be told of."""
        return self._tallies.setdefault((route, method, status), Tally())

    def _route(self, name: str) -> _Route:
        found = self._routes.get(name)
        if found is None:
            found = self._routes[name] = _Route([0] * (len(self._limits) + 1))
        return found

    def _take_tallies(self) -> None:
        for (route, method, status), tally in self._tallies.items():
            self._answered[route, method, status // 100] += tally.count
            found = self._route(route)
            found.within[0] += tally.count
            found.bytes_out += tally.bytes_out
            tally.count = tally.bytes_out = 0

    def collect(self) -> Iterable[Metric]:
        """The metrics as they stand."""
        self._take_tallies()
        answered = CounterMetricFamily(
            "gateway_requests", "Answered requests.", labels=("route", "method", "status")
        )
        for (route, method, kind), count in self._answered.items():
            answered.add_metric((route, method, f"{kind}xx"), count)
        durations = HistogramMetricFamily(
            "gateway_request_duration_seconds",
            "From first byte in to last byte out.",
            labels=("route",),
        )
        out = CounterMetricFamily("gateway_response_bytes", "Body bytes sent.", labels=("route",))
        limits = [*(str(float(limit)) for limit in self._limits), "+Inf"]
        for name, one in self._routes.items():
            buckets = list(zip(limits, accumulate(one.within), strict=True))
            durations.add_metric((name,), buckets, one.seconds)
            out.add_metric((name,), one.bytes_out)
        return answered, durations, out
