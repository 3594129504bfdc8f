"""Pages are cut from what exists: what is rejected takes no place on them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.model import Found, Level, Study
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held, key_objects

UIDS = {
    Level.STUDY: dj.STUDY_INSTANCE_UID,
    Level.SERIES: dj.SERIES_INSTANCE_UID,
    Level.INSTANCE: dj.SOP_INSTANCE_UID,
}
ROUTES = {Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}


def study(number: int, *, gone: int = 0) -> list[Held]:
    """A study of three series with one instance each, the first `gone` of them rejected."""
    uid = f"1.2.{number}"
    images = [Held(study=uid, series=f"{uid}.{s}", instance=f"{uid}.{s}.1") for s in (1, 2, 3)]
    return [*images, *([key_objects(uid, 9, "113038", *images[:gone])] if gone else [])]


def listed(*held: Sequence[Held]) -> list[Held]:
    return [one for some in held for one in some]


FIRST_GONE = listed(study(10, gone=3), study(11), study(12, gone=1), study(13, gone=3), study(14))
ALL_GONE = listed(*(study(n, gone=3) for n in range(20, 26)))
LAST_GONE = listed(study(30), study(31), study(32, gone=3), study(33, gone=3))
MANY_GONE = listed(*(study(n, gone=3) for n in range(40, 52)), study(60), study(61))
HOLDINGS = {
    "the first": [FIRST_GONE],
    "all": [ALL_GONE],
    "the last": [LAST_GONE],
    "many": [MANY_GONE],
    "of two archives": [FIRST_GONE, [*LAST_GONE, *study(11)]],
    "of mirrors": [FIRST_GONE, FIRST_GONE],
    "none": [listed(study(1), study(2), study(3))],
}


async def found(assembled: Assembled, query: Query) -> Found[str]:
    result: Found[Dataset] = await assembled.catalog.search(ANYONE, query)
    uids = tuple(dj.text(row, UIDS[query.level]) or "" for row in result.items)
    return Found(items=uids, has_more=result.has_more)


async def studies(assembled: Assembled, query: Query) -> Found[str]:
    result: Found[Study] = await assembled.catalog.studies(ANYONE, query)
    return Found(items=tuple(s.uid for s in result.items), has_more=result.has_more)


@pytest.mark.parametrize("level", UIDS)
@pytest.mark.parametrize("holdings", HOLDINGS.values(), ids=HOLDINGS.keys())
async def test_any_page_is_cut_from_the_list_of_what_exists(
    holdings: list[list[Held]], level: Level
) -> None:
    async with over(*holdings) as assembled:
        whole = await found(assembled, Query(level=level))
        assert not whole.has_more
        for limit in (1, 2, 3, 50):
            for offset in range(len(whole.items) + 2):
                expected = Found(
                    items=whole.items[offset : offset + limit],
                    has_more=offset + limit < len(whole.items),
                )
                query = Query(level=level, limit=limit, offset=offset)
                assert await found(assembled, query) == expected
                if level is Level.STUDY:
                    assert await studies(assembled, query) == expected


@pytest.mark.parametrize("level", [Level.SERIES, Level.INSTANCE])
@pytest.mark.parametrize("gone", [0, 1, 2, 3])
async def test_pages_within_a_study_are_those_of_what_is_left(gone: int, level: Level) -> None:
    holding = study(5, gone=gone)
    left = holding[gone:3]
    uids = tuple(one.series if level is Level.SERIES else one.instance for one in left)
    async with over(holding) as assembled:
        for limit in (1, 2, 3):
            for offset in range(4):
                query = Query(level=level, study_uid="1.2.5", limit=limit, offset=offset)
                page = await found(assembled, query)
                assert page.items == uids[offset : offset + limit]
                assert page.has_more is (offset + limit < len(uids))


async def test_what_only_rejected_objects_are_found_by_takes_no_place() -> None:
    """Series searched for by the modalities of their study, of which one is rejected."""
    partly = study(5)
    lost = Held(study="1.2.5", series="1.2.5.7", instance="1.2.5.7.1", modality="MR")
    other = Held(study="1.2.6", series="1.2.6.1", instance="1.2.6.1.1", modality="MR")
    note = key_objects("1.2.5", 9, "113038", lost)
    key = qido.key(dj.MODALITIES_IN_STUDY, "MR")
    async with over([*partly, lost, note, other]) as assembled:
        assembled.doubles[0].counts_below = True
        for level in (Level.STUDY, Level.SERIES):
            include = frozenset({dj.MODALITIES_IN_STUDY})
            query = Query(level=level, keys=(key,), limit=1, include=include)
            expected = other.study if level is Level.STUDY else other.series
            assert await found(assembled, query) == Found(items=(expected,), has_more=False)


@pytest.mark.parametrize("level", UIDS)
async def test_archives_are_asked_once_where_nothing_is_taken_out(level: Level) -> None:
    async with over(listed(*(study(n) for n in range(1, 9)))) as assembled:
        for limit, offset in ((2, 0), (1, 3), (5, 2)):
            before = assembled.asked
            await found(assembled, Query(level=level, limit=limit, offset=offset))
            lists = [one for one in paths(assembled, before) if "StudyInstanceUID" not in one]
            assert [one for one in lists if "?limit=" in one] == [
                f"/{ROUTES[level]}?limit={offset + limit + 1}"
            ]
            if level is Level.STUDY:
                assert assembled.asked == before + 1


async def test_archives_are_asked_for_a_longer_list_only_where_the_page_needs_it() -> None:
    async with over(MANY_GONE) as assembled:
        await found(assembled, Query(level=Level.STUDY))
        before = assembled.asked
        page = await found(assembled, Query(level=Level.STUDY, limit=1))
        assert page == Found(items=("1.2.60",), has_more=True)
        asked = paths(assembled, before)
        assert [one for one in asked if "offset" not in one] == [
            f"/studies?limit={limit}" for limit in (2, 9, 37)
        ]


def paths(assembled: Assembled, begun: int) -> list[str]:
    """What the one archive was asked since it had been asked so often."""
    return [one.path for one in assembled.doubles[0].server.requests[begun:]]
