"""What failed is left alone: one object, and after some of them its class."""

from __future__ import annotations

from dataclasses import replace

from gateway.shut_ways import ShutWays, Way
from tests.assembled import Clock

WAY = Way(archive="a", name="thumbnail", sop_class_uid="1", series_uid="1.1", instance_uid="1.1.1")


def other(number: int) -> Way:
    return replace(WAY, series_uid=f"1.{number}", instance_uid=f"1.{number}.1")


def test_a_way_is_shut_for_an_object_and_then_for_its_class() -> None:
    clock = Clock()
    ways = ShutWays(clock)
    for number in (1, 2):
        ways.failed(other(number), 60)
        assert ways.is_shut(other(number))
        assert not ways.is_shut(other(9))
    ways.failed(other(3), 60)
    assert ways.is_shut(other(9))
    assert not ways.is_shut(replace(other(9), sop_class_uid="2"))
    clock.now += 60
    assert not ways.is_shut(other(1))
    ways.failed(other(1), 60)
    assert not ways.is_shut(other(9)), "it is found out anew"


def test_what_is_passing_may_recover() -> None:
    ways = ShutWays(Clock())
    ways.failed(WAY, 60)
    assert not ways.may_recover([WAY])
    ways.shut(replace(WAY, name="rendered"), 60, is_passing=True)
    assert ways.may_recover([WAY, replace(other(2), name="rendered")])


def test_an_object_that_is_spared_says_nothing_of_others() -> None:
    ways = ShutWays(Clock())
    for number in range(20):
        ways.spare(other(number), 60)
    assert ways.is_shut(other(1))
    assert not ways.is_shut(other(21))


def test_what_is_known_is_bounded() -> None:
    ways = ShutWays(Clock())
    ways.spare(WAY, 60)
    for number in range(10_000):
        ways.failed(replace(other(number), sop_class_uid=f"1.{number}"), 60)
    assert not ways.is_shut(WAY)
