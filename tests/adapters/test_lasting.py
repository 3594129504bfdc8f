"""Small values, as many as there is room for."""

from __future__ import annotations

from gateway.adapters.lasting import OVERHEAD_BYTES, Lasting


def test_what_was_used_least_recently_makes_room() -> None:
    lasting = Lasting(3 * (OVERHEAD_BYTES + 2))
    for name in "abc":
        lasting.put(name, b"1")
    assert lasting.value("a") == b"1"
    lasting.put("d", b"1")
    assert [lasting.value(name) for name in "abcd"] == [b"1", None, b"1", b"1"]
    assert lasting.bytes_held <= 3 * (OVERHEAD_BYTES + 2)


def test_newer_value_takes_the_place_of_the_older_one() -> None:
    lasting = Lasting(10_000)
    lasting.put("a", b"long value")
    lasting.put("a", b"new")
    assert lasting.value("a") == b"new"
    assert lasting.bytes_held == OVERHEAD_BYTES + 4
