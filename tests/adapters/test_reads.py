"""What is read while something is made."""

from __future__ import annotations

from gateway.adapters.reads import note_passing, note_reads, noted, reads_noted


def test_nobody_wants_to_know_outside() -> None:
    assert noted() is None
    note_reads({"a": b"1"})


def test_what_is_read_inside_counts_outside_too() -> None:
    with reads_noted() as outer:
        with reads_noted() as inner:
            note_reads({"a": b"1"})
        note_reads({"b": b"2"})
    assert inner.values == {"a": b"1"}
    assert outer.values == {"a": b"1", "b": b"2"}
    assert outer.is_whole


def test_two_values_of_one_key_are_no_whole_reading() -> None:
    with reads_noted() as reads:
        note_reads({"a": b"1"})
        note_reads({"a": b"2"})
    assert not reads.is_whole


def test_what_depends_on_the_moment_as_well_is_no_whole_reading() -> None:
    note_passing()
    with reads_noted() as outer, reads_noted():
        note_reads({"a": b"1"})
        note_passing()
    assert not outer.is_whole
