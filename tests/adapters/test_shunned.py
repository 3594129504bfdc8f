"""What cost a process is left alone for its time, and then no longer."""

from __future__ import annotations

from gateway.adapters.shunned import Shunned


def test_what_is_shunned_is_so_for_its_time() -> None:
    now = [0.0]
    shunned = Shunned(lambda: now[0])
    shunned.add("a", 10)

    assert "a" in shunned
    assert "b" not in shunned
    now[0] = 10
    assert "a" not in shunned


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    shunned = Shunned(lambda: 0.0)
    for number in range(10_001):
        shunned.add(str(number), 10)

    assert "0" not in shunned
    assert "1" in shunned
    assert "10000" in shunned
