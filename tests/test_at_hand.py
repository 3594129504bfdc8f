from __future__ import annotations

from collections.abc import AsyncIterator

from gateway.at_hand import AtHand, everything, first


async def counted(most: int) -> AsyncIterator[int]:
    for number in range(most):
        yield number


async def test_items_come_before_the_rest() -> None:
    assert [n async for n in AtHand([7, 8], counted(2))] == [7, 8, 0, 1]
    assert [n async for n in AtHand([7, 8])] == [7, 8]


async def test_the_first_is_known_and_still_to_come() -> None:
    for items in (AtHand([0, 1, 2]), AtHand([0], AtHand([1, 2])), counted(3)):
        found = await first(items)
        assert found is not None
        assert found[0] == 0
        assert [n async for n in found[1]] == [0, 1, 2]
    for nothing in (AtHand(list[int]()), counted(0)):
        assert await first(nothing) is None


async def test_everything_is_what_is_left() -> None:
    partly = AtHand([0, 1, 2])
    assert await anext(partly) == 0
    assert await everything(partly) == [1, 2]
    assert await everything(partly) == []
    assert await everything(AtHand([5], counted(2))) == [5, 0, 1]
