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


class Took:
    """How long things of one label took; `within[n]`: how many within the nth limit, no earlier."""

    __slots__ = ("_limits", "seconds", "within")

    def __init__(self, limits_seconds: Sequence[float]) -> None:
        self._limits = limits_seconds
        self.within = [0] * (len(limits_seconds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Something took so long."""
        self.within[bisect_left(self._limits, seconds)] += 1
        self.seconds += seconds


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
        self._by_label: dict[str, Took] = {}

    def of(self, label: str) -> Took:
        """What counts those of one label."""
        found = self._by_label.get(label)
        if found is None:
            found = self._by_label[label] = Took(self._limits)
        return found

    def collect(self) -> Iterable[Metric]:
        """The histogram as it stands."""
        told = HistogramMetricFamily(self._name, self._documentation, labels=(self._label,))
        limits = [*(str(float(limit)) for limit in self._limits), "+Inf"]
        for label, one in self._by_label.items():
            buckets = list(zip(limits, accumulate(one.within), strict=True))
            told.add_metric((label,), buckets, one.seconds)
        return (told,)


@dataclass(slots=True)
class Tally:
    """How many answers of one kind there were, and how many bytes they had.

    `took`: how long all of their route took.
    """

    took: Took
    count: int = 0
    bytes_out: int = 0

    def add(self, seconds: float, bytes_out: int) -> None:
        """One more."""
        self.count += 1
        self.bytes_out += bytes_out
        self.took.add(seconds)

    def add_short(self, bytes_out: int) -> None:
        """One more that took no time worth telling."""
        self.count += 1
        self.bytes_out += bytes_out
        self.took.within[0] += 1


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
        self._tallies: dict[tuple[str, str, int], Tally] = {}

    def tally(self, kind: tuple[str, str, int]) -> Tally:
        """What counts answers of a kind: a route, a method and a status."""
        found = self._tallies.get(kind)
        if found is None:
            found = self._tallies[kind] = Tally(self._durations.of(kind[0]))
        return found

    def collect(self) -> Iterable[Metric]:
        """The metrics as they stand."""
        counts: Counter[tuple[str, str, str]] = Counter()
        sizes: Counter[str] = Counter()
        for (route, method, status), tally in self._tallies.items():
            counts[route, method, f"{status // 100}xx"] += tally.count
            sizes[route] += tally.bytes_out
        answered = CounterMetricFamily(
            "gateway_requests", "Answered requests.", labels=("route", "method", "status")
        )
        for labels, count in counts.items():
            answered.add_metric(labels, count)
        out = CounterMetricFamily("gateway_response_bytes", "Body bytes sent.", labels=("route",))
        for route, count in sizes.items():
            out.add_metric((route,), count)
        return answered, *self._durations.collect(), out
