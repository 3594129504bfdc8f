"""An instance of a listed series is found in the list, as it would be by asking for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.cache_names import Group
from gateway.asked_instances import LEAST_ASKED
from gateway.errors import NotFound
from gateway.model import Loaded, Target
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held, key_objects

SERIES = [Held(study="1.2.3", series="1.2.3.1", instance=f"1.2.3.1.{n}") for n in range(1, 10)]
LATE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.99")
OTHER = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1")


def target(held: Held) -> Target:
    return Target(study_uid=held.study, series_uid=held.series, instance_uid=held.instance)


async def listed(made: Assembled) -> None:
    """Asks for single ones until the series is listed."""
    for held in SERIES[: LEAST_ASKED + 1]:
        await made.archives.located(target(held))


async def ordinarily(made: Assembled, held: Held) -> Loaded:
    """What is found by asking for it."""
    return await made.archives._looked_up(target(held))


async def test_instances_of_a_listed_series_are_located_without_asking() -> None:
    async with over([*SERIES, OTHER], [*SERIES, LATE]) as made:
        assert made.archives.listed(target(SERIES[0])) is None
        await listed(made)
        asked = made.asked
        found = made.archives.located_before(target(SERIES[-1]))
        assert found is not None
        assert made.asked == asked
        assert await made.archives.located(target(SERIES[-1])) == found
        assert found.study == (await ordinarily(made, SERIES[-1])).study
        asked = made.asked
        await made.archives.cache.forget(Group())
        assert made.archives.located_before(target(SERIES[-1])) is None
        assert (await made.archives.located(target(SERIES[-1]))).study == found.study
        assert made.asked > asked


async def test_what_not_every_archive_lists_is_asked_for() -> None:
    async with over([*SERIES], [*SERIES, LATE]) as made:
        await listed(made)
        assert made.archives.listed(target(LATE)) is not None
        assert made.archives.located_before(target(LATE)) is None
        found = await made.archives.located(target(LATE))
        (series,) = found.study.series or ()
        assert [(i.uid, i.archives) for i in series.instances or ()] == [
            (LATE.instance, ("south",))
        ]


async def test_what_came_since_the_list_is_asked_for() -> None:
    async with over([*SERIES]) as made:
        await listed(made)
        made.doubles[0].held.append(LATE)
        assert made.archives.located_before(target(LATE)) is None
        assert (await made.archives.located(target(LATE))).study.uid == LATE.study


async def test_what_is_in_another_series_is_not_in_this_one() -> None:
    async with over([*SERIES, OTHER]) as made:
        await listed(made)
        wrong = replace(target(OTHER), series_uid=SERIES[0].series)
        assert made.archives.located_before(wrong) is None
        with pytest.raises(NotFound):
            await made.archives.located(wrong)


async def test_series_of_which_some_is_rejected_are_not_listed() -> None:
    note = key_objects("1.2.3", 9, "113001", SERIES[-1], meaning="Rejected for Quality Reasons")
    async with over([*SERIES, note]) as made:
        await listed(made)
        assert made.archives.listed(target(SERIES[0])) is None
        with pytest.raises(NotFound):
            await made.catalog.located(ANYONE, target(SERIES[-1]))
