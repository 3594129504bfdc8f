"""Whether something was dropped since it was read."""

from __future__ import annotations

from gateway.adapters.drops import Drops


def test_only_what_bears_the_mark_is_dropped() -> None:
    drops = Drops()
    stamp = drops.now
    drops.note("study a")
    assert drops.last(["study a", "all"]) > stamp
    assert drops.last(["study b", "all"]) <= stamp


def test_what_is_read_after_a_drop_is_good_until_the_next() -> None:
    drops = Drops()
    drops.note("all")
    stamp = drops.now
    assert drops.last(["study a", "all"]) <= stamp
    drops.note("all")
    assert drops.last(["study a", "all"]) > stamp


def test_what_is_no_longer_known_counts_as_dropped() -> None:
    drops = Drops(max_known=10)
    early = drops.now
    for number in range(20):
        drops.note(str(number))
    late = drops.now
    assert drops.last(["unknown"]) > early
    assert drops.last(["unknown"]) <= late
