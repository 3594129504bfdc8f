"""What the preconditions of a read come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.preconditions import Conditions, Verdict, last_modified, verdict

CHANGED = datetime(2024, 5, 14, 10, 0, 5, 200_000, tzinfo=UTC)
BEFORE, AFTER = CHANGED.replace(microsecond=0), datetime(2024, 5, 14, 10, 0, 6, tzinfo=UTC)
GO_ON, KNOWN, FAILED = Verdict.GO_ON, Verdict.NOT_MODIFIED, Verdict.FAILED


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(), GO_ON),
        (Conditions(if_none_match=['W/"1"']), KNOWN),
        (Conditions(if_none_match=['"1"']), KNOWN),
        (Conditions(if_none_match=['W/"0", W/"1"']), KNOWN),
        (Conditions(if_none_match=['W/"0"', 'W/"1"']), KNOWN),
        (Conditions(if_none_match=["*"]), KNOWN),
        (Conditions(if_none_match=['W/"2"']), GO_ON),
        (Conditions(if_modified_since=AFTER), KNOWN),
        (Conditions(if_modified_since=BEFORE), GO_ON),
        (Conditions(if_none_match=['W/"2"'], if_modified_since=AFTER), GO_ON),
        (Conditions(if_none_match=['W/"1"'], if_modified_since=BEFORE), KNOWN),
        (Conditions(if_match=['W/"1"']), GO_ON),
        (Conditions(if_match=["*"]), GO_ON),
        (Conditions(if_match=['W/"2"']), FAILED),
        (Conditions(if_unmodified_since=AFTER), GO_ON),
        (Conditions(if_unmodified_since=BEFORE), FAILED),
        (Conditions(if_match=['W/"1"'], if_unmodified_since=BEFORE), GO_ON),
        (Conditions(if_match=['W/"2"'], if_none_match=['W/"1"']), FAILED),
        (Conditions(if_match=['W/"1"'], if_none_match=['W/"1"']), KNOWN),
    ],
)
def test_conditions_are_looked_at_in_the_order_of_the_rfc(
    conditions: Conditions, expected: Verdict
) -> None:
    assert verdict(conditions, 'W/"1"', CHANGED) is expected


def test_what_has_no_tag_and_no_time_is_sent_unless_a_tag_is_demanded() -> None:
    asked = Conditions(if_none_match=['W/"1"'], if_modified_since=AFTER)
    assert verdict(asked, None, None) is GO_ON
    assert verdict(Conditions(if_unmodified_since=BEFORE), None, None) is GO_ON
    assert verdict(Conditions(if_match=['W/"1"']), None, None) is FAILED


seconds = st.integers(0, 5_000).map(lambda ms: CHANGED + timedelta(milliseconds=ms))


@given(first=seconds, second=seconds, asked=seconds)
def test_client_that_sends_back_the_time_that_it_was_told_never_misses_a_change(
    first: datetime, second: datetime, asked: datetime
) -> None:
    """It read at `asked`, before the second change and not before the first."""
    if not first <= asked < second:
        return
    told = Conditions(if_modified_since=last_modified(first, asked))
    assert verdict(told, None, second) is GO_ON


@given(changed=seconds, asked=seconds)
def test_time_told_is_that_of_the_content_whenever_it_is_read(
    changed: datetime, asked: datetime
) -> None:
    told = last_modified(changed, asked)
    assert told in {None, last_modified(changed, asked + timedelta(days=1))}
    if told is None:
        assert asked - changed < timedelta(seconds=1)
    else:
        assert changed <= told <= asked
        assert verdict(Conditions(if_modified_since=told), None, changed) is KNOWN


def test_time_to_come_is_not_told() -> None:
    assert last_modified(CHANGED, AFTER - timedelta(milliseconds=1)) is None
    assert last_modified(CHANGED, AFTER) == AFTER
    assert last_modified(BEFORE, BEFORE) == BEFORE
