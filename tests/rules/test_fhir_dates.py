"""FHIR dates in searches."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import fhir_dates
from gateway.rules.fhir_dates import PREFIXES, Moment

DAY = "2020-05-14"


def at(text: str) -> Moment:
    found = fhir_dates.moment(text)
    assert found is not None
    return found


NOW = at("2026-05-14T12:00:00Z")


def matches(wanted: str, started: str, zone_minutes: int = 0) -> bool:
    value = fhir_dates.date_value(wanted)
    assert value is not None
    return fhir_dates.matches(value, at(started), zone_minutes, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "2020-13",
        "2020-02-30",
        "0000",
        "20",
        "2020-05-14T24:00",
        "2020-05-14T10",
        "2020-05-14T10:61",
        "2020-05-14T10:00:61",
        "2020-05-14T10:00+15:00",
        "2020-05-14T10:00+02:60",
        "xx2020",
        "EQ2020",
        "2020-05-14 ",
        "٢٠٢٠",
        "",
    ],
)
def test_what_is_no_fhir_date_is_refused(text: str) -> None:
    assert fhir_dates.date_value(text) is None


@pytest.mark.parametrize("text", ["2020", "ge2020-05", "sa2020-05-14", "ap2020-05-14T10:00:60.5Z"])
def test_fhir_dates_of_any_precision_are_read(text: str) -> None:
    assert fhir_dates.date_value(text) is not None


@pytest.mark.parametrize(
    ("wanted", "started", "expected"),
    [
        ("2020-05-14", DAY, True),
        ("2020-05", DAY, True),
        ("2020", "2021-01-01", False),
        ("2020-05-14", "2020-05-14T23:30:00-05:00", True),  # local calendar, offset ignored
        ("2020-05-15", "2020-05-14T23:30:00-05:00", False),
        ("ne2020-05-14", DAY, False),
        ("ne2020-05-13", DAY, True),
        ("gt2020-05-14", DAY, False),
        ("gt2020-05-13", DAY, True),
        ("ge2020-05-14", DAY, True),
        ("lt2020-05-14", DAY, False),
        ("lt2020-05-15", DAY, True),
        ("le2020-05-14", DAY, True),
        ("sa2020-05-13", DAY, True),
        ("sa2020-05", DAY, False),
        ("eb2020-06", DAY, True),
        ("eb2020-05", DAY, False),
        ("gt2020-05-14T10:00", DAY, True),  # the day reaches beyond ten
        ("lt2020-05-14T10:00", DAY, True),
        ("eq2020-05-14T10:00", DAY, False),  # a minute does not contain a day
        ("2020-05-14T10:20", "2020-05-14T10:20:30+02:00", False),  # no zone: UTC here
        ("2020-05-14T08:20", "2020-05-14T10:20:30+02:00", True),
        ("2020-05-14T10:20:30+02:00", "2020-05-14T08:20:30Z", True),
        ("ge2020-05-14T10:20:30.5Z", "2020-05-14T10:20:30.25Z", False),
        ("ap2020-05-15", DAY, True),
        ("ap2015-05-14", DAY, False),
        ("9999", "9999-12-31", True),
    ],
)
def test_dates_compare_as_intervals(*, wanted: str, started: str, expected: bool) -> None:
    assert matches(wanted, started) is expected


def test_values_without_a_zone_are_read_in_the_one_that_is_given() -> None:
    started = "2020-05-14T10:20:30+02:00"
    assert matches("2020-05-14T10:20", started, zone_minutes=120)
    assert not matches("2020-05-14T10:20", started, zone_minutes=0)


@pytest.mark.parametrize(
    ("wanted", "study_date"),
    [
        ("2020-05-14", "20200514"),
        ("eq2020-05", "20200501-20200531"),
        ("2020", "20200101-20201231"),
        ("ge2020", "20200101-"),
        ("gt2020", "20210101-"),
        ("sa2020", "20210101-"),
        ("le2020", "-20201231"),
        ("lt2020", "-20191231"),
        ("eb2020", "-20191231"),
        ("gt2020-05-14", "20200515-"),
        ("gt2020-05-14T10:00:00Z", "20200513-"),
        ("2020-05-14T10:00Z", "20200513-20200515"),
        ("lt0001", None),
        ("gt9999", None),
        ("lt2020-01-01T00:00Z", "-20200102"),
    ],
)
def test_study_date_is_asked_for_as_the_days_that_can_match(
    wanted: str, study_date: str | None
) -> None:
    value = fhir_dates.date_value(wanted)
    assert value is not None
    bounds = fhir_dates.days(value, NOW)
    assert bounds is not None
    assert fhir_dates.study_date_range(bounds) == study_date


def test_any_day_can_be_another_one() -> None:
    value = fhir_dates.date_value("ne2020")
    assert value is not None
    assert fhir_dates.days(value, NOW) is None


@given(now=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])))
def test_clock_reads_as_the_date_time_that_it_shows(now: datetime) -> None:
    assert fhir_dates.instant(now) == fhir_dates.moment(now.isoformat(timespec="seconds"))


texts = st.one_of(
    st.dates().map(lambda d: d.isoformat()),
    st.dates().map(lambda d: d.isoformat()[:7]),
    st.builds(
        "{}T{:02}:{:02}{}".format,
        st.dates(date(1900, 1, 1), date(2100, 1, 1)),
        st.integers(0, 23),
        st.integers(0, 59),
        st.sampled_from(["", "Z", "+14:00", "-12:00"]),
    ),
)
started = st.one_of(
    st.dates().map(lambda d: d.isoformat()),
    st.builds(
        "{}T{:02}:{:02}:00{}".format,
        st.dates(date(1900, 1, 1), date(2100, 1, 1)),
        st.integers(0, 23),
        st.integers(0, 59),
        st.sampled_from(["Z", "+12:00", "-11:00"]),
    ),
)


@given(prefix=st.sampled_from(PREFIXES), text=texts, found=started)
def test_every_match_lies_on_a_day_that_is_asked_for(prefix: str, text: str, found: str) -> None:
    value = fhir_dates.date_value(prefix + text)
    assert value is not None
    bounds = fhir_dates.days(value, NOW)
    if bounds is None or not fhir_dates.matches(value, at(found), 0, NOW):
        return
    day = date.fromisoformat(found[:10]).toordinal()
    low, high = bounds
    assert low is None or low <= day
    assert high is None or day <= high
