"""What is remembered of studies for longer than their records are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.adapters.cache_names import Key
from gateway.model import Contents, Instance
from gateway.noticing import Noticing
from tests.study_records import SERIES_LEVEL, SIDED

LIST = Contents(instances={"1": (Instance(uid="1.1"),)})


class Places:
    """Two places that remember, of which either may lose what it knows."""

    def __init__(self, lag_seconds: float = 0) -> None:
        self.lag_seconds = lag_seconds
        self.places: Sequence[dict[Key, bytes]] = ({}, {})

    async def recall(self, key: Key) -> tuple[bytes, ...]:
        return tuple(place[key] for place in self.places if key in place)

    async def remember(self, key: Key, value: bytes) -> None:
        for place in self.places:
            place[key] = value


class Seconds:
    """A clock that goes on by a second whenever it is read."""

    def __init__(self) -> None:
        self.now = datetime(2024, 5, 14, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def words(*some: object) -> Key:
    return Key(" ".join(map(str, some)), study_uid=str(some[1]))


def over(places: Places) -> Noticing:
    return Noticing(places, words, Seconds())


def at(second: int) -> str:
    return f"2024-05-14T10:00:{second:02d}.000Z"


async def test_each_archive_and_study_has_a_time_of_its_own() -> None:
    noticing = over(Places())
    assert await noticing.study("north", "1", SERIES_LEVEL) == at(1)
    assert await noticing.study("south", "1", SERIES_LEVEL) == at(2)
    assert await noticing.study("north", "2", SERIES_LEVEL) == at(3)
    assert await noticing.study("north", "1", SERIES_LEVEL) == at(1)
    assert await noticing.study("north", "1", SIDED) == at(5)


async def test_change_counts_from_when_no_process_serves_what_was_before() -> None:
    noticing = over(Places(lag_seconds=1.5))
    assert await noticing.study("north", "1", SERIES_LEVEL) == "2024-05-14T10:00:02.500Z"


async def test_what_one_place_lost_another_knows_and_the_newest_counts() -> None:
    places = Places()
    noticing = over(places)
    await noticing.study("north", "1", SERIES_LEVEL)
    old = dict(places.places[0])
    changed = await noticing.study("north", "1", SIDED)
    places.places[1].update(old)
    assert await noticing.study("north", "1", SIDED) == changed
    places.places[0].clear()
    assert await noticing.study("north", "1", SIDED) == changed


async def test_what_is_lost_or_unreadable_counts_as_new() -> None:
    places = Places()
    noticing = over(places)
    await noticing.study("north", "1", SERIES_LEVEL)
    for place in places.places:
        for key in place:
            place[key] = b"\xc1 garbage"
    assert await noticing.study("north", "1", SERIES_LEVEL) == at(2)


async def test_instances_tell_the_time_of_their_study_until_they_change() -> None:
    noticing = over(Places())
    since = await noticing.study("north", SERIES_LEVEL.uid, SERIES_LEVEL)
    study = replace(SERIES_LEVEL, last_updated=since)
    assert await noticing.instances("north", study, LIST) == since
    assert await noticing.instances("north", study, Contents(instances={})) == at(3)
    assert await noticing.study("north", study.uid, study) == at(3)


async def test_instances_of_an_older_study_level_tell_its_time() -> None:
    noticing = over(Places())
    since = await noticing.study("north", SERIES_LEVEL.uid, SERIES_LEVEL)
    await noticing.study("north", SERIES_LEVEL.uid, SIDED)
    study = replace(SERIES_LEVEL, last_updated=since)
    assert await noticing.instances("north", study, LIST) == since


async def test_other_content_has_a_time_of_its_own() -> None:
    noticing = over(Places())
    words = ("key-objects", "1.9")
    assert await noticing.content("north", "1", words, ("note",)) == at(1)
    assert await noticing.content("north", "1", words, ("note",)) == at(1)
    assert await noticing.content("north", "1", words, None) == at(3)
    assert await noticing.content("south", "1", words, None) == at(4)
