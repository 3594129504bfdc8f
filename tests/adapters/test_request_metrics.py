"""What is told of answered requests, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.adapters.request_metrics import RequestMetrics


def samples(metrics: RequestMetrics) -> dict[tuple[str, ...], float]:
    """Values by the name of the sample and its labels."""
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_method_and_class_of_status() -> None:
    metrics = RequestMetrics((1.0, 2.0))
    for status in (200, 204, 404):
        metrics.tally(("/a", "GET", status)).add(0.5, 10)
    metrics.tally(("/b", "POST", 200)).add(0.5, 0)
    found = samples(metrics)
    counts = {k[1:]: v for k, v in found.items() if k[0] == "gateway_requests_total"}
    assert {frozenset(k): v for k, v in counts.items()} == {
        frozenset(("/a", "GET", "2xx")): 2,
        frozenset(("/a", "GET", "4xx")): 1,
        frozenset(("/b", "POST", "2xx")): 1,
    }
    assert found["gateway_response_bytes_total", "/a"] == 30


def test_durations_fall_into_the_first_bucket_that_holds_them() -> None:
    metrics = RequestMetrics((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 99.0):
        metrics.tally(("/a", "GET", 200)).add(seconds, 0)
    found = {frozenset(k): v for k, v in samples(metrics).items()}
    name = "gateway_request_duration_seconds"
    assert [
        found[frozenset((f"{name}_bucket", "/a", limit))] for limit in ("1.0", "2.0", "+Inf")
    ] == [2, 3, 4]
    assert found[frozenset((f"{name}_count", "/a"))] == 4
    assert found[frozenset((f"{name}_sum", "/a"))] == 102


def test_what_was_not_asked_for_yet_is_not_told() -> None:
    assert samples(RequestMetrics((1.0,))) == {}


def test_what_is_tallied_counts_with_the_rest_and_once() -> None:
    metrics = RequestMetrics((1.0, 2.0))
    metrics.tally(("/a", "GET", 200)).add(1.5, 10)
    tally = metrics.tally(("/a", "GET", 200))
    assert metrics.tally(("/a", "GET", 200)) is tally
    tally.add_short(3)
    tally.add_short(4)
    for _ in range(2):
        found = {frozenset(k): v for k, v in samples(metrics).items()}
        assert found[frozenset(("gateway_requests_total", "/a", "GET", "2xx"))] == 3
        assert found[frozenset(("gateway_response_bytes_total", "/a"))] == 17
        assert found[frozenset(("gateway_request_duration_seconds_bucket", "/a", "1.0"))] == 2
