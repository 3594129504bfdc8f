from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.rules import periods


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "2024-01-01T00:00:00", "2024-12-31T23:59:59.999999"),
        ("2024-02", "2024-02-01T00:00:00", "2024-02-29T23:59:59.999999"),
        ("2024-02-03", "2024-02-03T00:00:00", "2024-02-03T23:59:59.999999"),
        ("2024-02-03T10:20", "2024-02-03T10:20:00", "2024-02-03T10:20:59.999999"),
        ("2024-02-03T10:20:30Z", "2024-02-03T10:20:30", "2024-02-03T10:20:30.999999"),
        ("2024-02-03T10:20:30.25+01:00", "2024-02-03T09:20:30.250", "2024-02-03T09:20:30.250"),
    ],
)
def test_a_partial_date_begins_and_ends(text: str, first: str, last: str) -> None:
    start, _ = periods.instant(text, UTC, is_end=False)
    end, _ = periods.instant(text, UTC, is_end=True)

    assert start == datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert end == datetime.fromisoformat(last).replace(tzinfo=UTC)


def test_a_date_without_a_zone_is_in_the_zone_given() -> None:
    start, _ = periods.instant("2024-07-01", ZoneInfo("Europe/Paris"), is_end=False)

    assert start == datetime(2024, 6, 30, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "2024-2", "0000", "2024-04-31", "2024-01-01T00:00:61Z"])
def test_what_is_no_date_is_said_to_be_none(text: str) -> None:
    assert periods.instant(text, UTC, is_end=True) == (None, True)


def test_the_last_year_of_the_calendar_has_an_end() -> None:
    end, is_odd = periods.instant("9999", UTC, is_end=True)

    assert end is not None
    assert not is_odd
