"""What is made from cached values is given again while these are current, and no longer."""

from __future__ import annotations

import pytest

from gateway.adapters.cache import MemoryCache
from gateway.adapters.derived import Derived
from gateway.adapters.reads import reads_noted
from gateway.errors import ArchiveTimeout
from tests.adapters.caches import Clock, Source, key, memory


class Bench:
    """A cache, and something made from its values."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cache: MemoryCache = memory(self.clock)
        self.derived: Derived[str, bytes] = Derived(self.cache, max_bytes=110)
        self.made = 0

    async def thing(self, *keys: str, size: int = 1) -> bytes:
        """The values of `keys` together, made unless that is kept."""
        found = self.derived.found(" ".join(keys))
        if found is None:
            self.made += 1
            with reads_noted() as reads:
                found = b"".join([await self.cache.load(key(k), Source(k.encode())) for k in keys])
            self.derived.keep(" ".join(keys), found, size, reads)
        return found


async def test_it_is_made_once_while_all_is_current() -> None:
    bench = Bench()
    assert [await bench.thing("a", "b") for _ in range(3)] == [b"ab"] * 3
    assert bench.made == 1


@pytest.mark.parametrize("word", ["a", "b"])
async def test_it_is_made_anew_once_any_value_is_forgotten(word: str) -> None:
    bench = Bench()
    await bench.thing("a", "b")
    await bench.cache.forget(key(word))
    await bench.thing("a", "b")
    assert bench.made == 2


async def test_it_is_made_anew_once_any_value_is_too_old_or_in_doubt() -> None:
    bench = Bench()
    await bench.thing("a")
    bench.clock.seconds += 61
    await bench.thing("a")
    assert bench.made == 2
    await bench.thing("b")
    bench.cache.doubt(key("b"))
    await bench.thing("b")
    assert bench.made == 4


async def test_what_is_used_by_something_else_counts_as_read_for_that() -> None:
    bench = Bench()
    await bench.thing("a")
    outer: Derived[str, bytes] = Derived(bench.cache, max_bytes=100)
    for _ in range(2):  # made within, and found within
        with reads_noted() as reads:
            await bench.thing("a")
        assert list(reads.values) == [key("a")]
        outer.keep("x", b"x", 1, reads)
        assert outer.found("x") == b"x"
        await bench.cache.forget(key("a"))
        assert outer.found("x") is None


async def test_what_failed_within_is_no_whole_reading_outside() -> None:
    cache = memory(Clock())
    failing = Source(error=ArchiveTimeout("late", archive="north"))
    with reads_noted() as outer, reads_noted() as reads, pytest.raises(ArchiveTimeout):
        await cache.load(key("a"), failing)
    assert not reads.is_whole
    assert not outer.is_whole


async def test_what_was_made_of_nothing_is_not_kept() -> None:
    bench = Bench()
    await bench.thing()
    await bench.thing()
    assert bench.made == 2


async def test_the_least_recently_used_makes_room() -> None:
    bench = Bench()
    for letter in "abcdefghij":
        await bench.thing(letter, size=10)
    assert bench.derived.bytes_held == 110
    await bench.thing("a", size=10)
    await bench.thing("k", size=10)
    assert bench.made == 11
    await bench.thing("a", size=10)
    assert bench.made == 11
    await bench.thing("b", size=10)
    assert bench.made == 12
    await bench.thing("l", size=13)
    await bench.thing("l", size=13)
    assert bench.made == 14


async def test_values_that_things_were_made_from_take_room_once_and_are_let_go_of() -> None:
    cache = memory(Clock())
    derived: Derived[str, bytes] = Derived(cache, max_bytes=1000)
    value = bytes(100)
    with reads_noted() as reads:
        await cache.load(key("a"), Source(value))
    for name in ("x", "y"):
        derived.keep(name, b"", 10, reads)
    assert derived.bytes_held == 120
    kept = derived.kept("x")
    assert kept is not None
    await cache.forget(key("a"))
    assert derived.kept("x") is None
    assert kept.reads == {}
    assert derived.bytes_held == 110
    assert derived.found("y") is None
    assert derived.bytes_held == 0


async def test_what_would_hold_too_much_is_not_kept() -> None:
    cache = memory(Clock())
    derived: Derived[str, bytes] = Derived(cache, max_bytes=1000)
    with reads_noted() as reads:
        await cache.load(key("a"), Source(bytes(150)))
    derived.keep("x", b"", 1, reads)
    assert derived.found("x") is None
