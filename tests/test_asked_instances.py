"""A listing is due when searches for single instances have cost about as much."""

from __future__ import annotations

import pytest

from gateway.asked_instances import LEAST_ASKED, MOST_SERIES, AskedInstances


@pytest.mark.parametrize(("rows", "due_after"), [(5, 3), (100, 3), (1000, 25), (None, 25)])
def test_listing_is_due_after_so_many_searches(rows: int | None, due_after: int) -> None:
    asked = AskedInstances()
    told = [asked.is_listing_due("north", "1.2", rows) for _ in range(due_after + 2)]
    assert told == [False] * due_after + [True, True]


def test_each_series_of_each_archive_is_counted_for_itself() -> None:
    asked = AskedInstances()
    for archive, series in (("north", "1.2"), ("south", "1.2"), ("north", "1.3")):
        told = [asked.is_listing_due(archive, series, 5) for _ in range(LEAST_ASKED + 1)]
        assert told == [False] * LEAST_ASKED + [True]


def test_what_was_asked_longest_ago_is_forgotten() -> None:
    asked = AskedInstances()
    for _ in range(LEAST_ASKED):
        asked.is_listing_due("north", "1.2", 5)
    for number in range(MOST_SERIES):
        asked.is_listing_due("north", f"2.{number}", 5)
    assert not asked.is_listing_due("north", "1.2", 5)
