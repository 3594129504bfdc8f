"""The archives' own pictures: which way is asked, and what is not asked again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model import Target
from gateway.own_pictures import CANNOT_SECONDS, SLOW_SECONDS, OwnPictures, Wanted
from gateway.rules.retrieval import Fetch
from gateway.shut_ways import MOST_SERIES
from tests.assembled import Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer, Seen

ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
TARGET = Target(study_uid=ONE.study, series_uid=ONE.series, instance_uid=ONE.instance)
PICTURE = b"\xff\xd8 a picture \xff\xd9"
DRAWN = Answer(body=PICTURE, content_type="image/jpeg")
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def wanted(
    sop_class: str = CT, archives: tuple[str, ...] = ("north",), *, series: int = 1, number: int = 1
) -> Wanted:
    uid = f"1.2.3.{series}"
    target = replace(TARGET, series_uid=uid, instance_uid=f"{uid}.{number}")
    return Wanted(
        fetch=Fetch(target=target, archives=archives),
        sop_class_uid=sop_class,
        number_of_frames=None,
        width=64,
        height=64,
        media_type="image/jpeg",
    )


def own_pictures(assembled: Assembled) -> OwnPictures:
    return OwnPictures(assembled.fan_out, assembled.clock)


async def all_of(own: OwnPictures, asked: Wanted) -> list[bytes]:
    return [picture async for picture in own.of(asked)]


def asked_for(assembled: Assembled) -> list[str]:
    """The ways that the first archive was asked since the last time."""
    requests = assembled.doubles[0].server.requests
    asked = dict.fromkeys(r.route.rpartition("/")[2] for r in requests)
    requests.clear()
    return list(asked)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(status=404), CANNOT_SECONDS),
        (Answer(status=406), CANNOT_SECONDS),
        (Answer(status=501), CANNOT_SECONDS),
        (Answer(body=b"<html>", content_type="text/html"), CANNOT_SECONDS),
        (Answer(body=b"", content_type="image/jpeg"), CANNOT_SECONDS),
        (Answer(status=500), SLOW_SECONDS),
        (Answer(status=504), SLOW_SECONDS),
        (Answer(raw=b""), SLOW_SECONDS),
        (Answer(status=401), SLOW_SECONDS),
        (Answer(status=429), SLOW_SECONDS),
        (Answer(status=503), SLOW_SECONDS),
        (Answer(status=503, headers={"Retry-After": "90"}), 90),
    ],
    ids=["404", "406", "501", "page", "empty", "500", "504", "reset", "401", "429", "503", "told"],
)
async def test_what_an_archive_cannot_draw_is_not_asked_again(
    answer: Answer, seconds: float
) -> None:
    async with over([ONE]) as assembled:
        server, own = assembled.doubles[0].server, own_pictures(assembled)
        server.on("*/thumbnail", answer)
        server.on("*/rendered", DRAWN)

        assert await all_of(own, wanted()) == [PICTURE]
        assert asked_for(assembled) == ["thumbnail", "rendered"]
        assert await all_of(own, wanted(MR)) == [PICTURE]
        assert asked_for(assembled) == ["thumbnail", "rendered"], "another class is another matter"
        await all_of(own, wanted())
        assert asked_for(assembled) == [], "the picture was of no use: the next one was asked for"
        assembled.clock.now += seconds - 1
        await all_of(own, wanted())
        assert asked_for(assembled) == []
        assembled.clock.now += 1
        await all_of(own, wanted())
        assert asked_for(assembled)[:1] == ["thumbnail"]


async def test_a_picture_that_is_of_use_is_asked_for_again() -> None:
    async with over([ONE]) as assembled:
        own = own_pictures(assembled)
        assembled.doubles[0].server.on("*/thumbnail", DRAWN)
        for _ in range(2):
            pictures = own.of(wanted())
            assert await anext(pictures) == PICTURE
            await pictures.aclose()
            assert asked_for(assembled) == ["thumbnail"]


async def test_an_archive_that_hangs_up_leaves_it_to_the_next_one() -> None:
    async with over([ONE], [ONE]) as assembled:
        north, south = (d.server for d in assembled.doubles)
        north.on("*", Answer(raw=b""))
        south.on("*/thumbnail", DRAWN)
        pictures = own_pictures(assembled).of(wanted(archives=("north", "south")))
        assert await anext(pictures) == PICTURE
        await pictures.aclose()
        asked = {r.route.rpartition("/")[2] for r in north.requests}
        assert asked == {"thumbnail", "rendered"}


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_an_archive_that_refuses_twice_is_spared(status: int) -> None:
    asked = {"thumbnail": 0, "rendered": 0, "wado": 0}

    def refused(seen: Seen) -> Answer:
        asked[seen.route.rpartition("/")[2]] += 1
        return Answer(status=status)

    async with over([ONE], has_wado_uri=True) as assembled:
        assembled.doubles[0].server.on("*", refused)
        own = own_pictures(assembled)
        assert await all_of(own, wanted()) == []
        assert asked == {"thumbnail": 1, "rendered": 1, "wado": 0}
        assert own.may_recover(wanted())
        assembled.clock.now += SLOW_SECONDS
        assert not own.may_recover(wanted())


async def test_an_archive_that_is_left_alone_is_not_held_for_one_that_cannot_draw() -> None:
    async with over([ONE]) as assembled:
        fan_out = assembled.fan_out
        own, server = OwnPictures(fan_out, assembled.clock), assembled.doubles[0].server
        server.on("*", Answer(raw=b""))
        for sop_class in (CT, MR, "1.2.3"):
            await all_of(own, wanted(sop_class))
        server.on("*", DRAWN)
        asked_for(assembled)
        assert await all_of(own, wanted("1.2.4")) == []
        assert asked_for(assembled) == [], "the circuit is open"
        assembled.clock.now += 10
        assert await all_of(own, wanted("1.2.4")) == [PICTURE, PICTURE]


NONE = Answer(status=404)


async def test_one_object_that_an_archive_cannot_draw_says_nothing_of_others() -> None:
    async with over([ONE]) as assembled:
        server, own = assembled.doubles[0].server, own_pictures(assembled)
        server.on(f"{ONE.path}/thumbnail", NONE)
        server.on("/studies/1.2.3/series/1.2.3.2/*", DRAWN)
        await all_of(own, wanted())
        assert asked_for(assembled) == ["thumbnail", "rendered"]
        await all_of(own, wanted())
        assert asked_for(assembled) == [], "it is known of this one"
        pictures = own.of(wanted(series=2))
        assert await anext(pictures) == PICTURE
        await pictures.aclose()


@pytest.mark.parametrize("others", [[(2, 1), (3, 1)], [(1, n) for n in range(2, 13)]])
async def test_what_an_archive_cannot_draw_of_several_it_is_not_asked_of_the_rest(
    others: list[tuple[int, int]],
) -> None:
    async with over([ONE]) as assembled:
        own = own_pictures(assembled)
        for series, number in [(1, 1), *others]:
            assert await all_of(own, wanted(series=series, number=number)) == []
            assert asked_for(assembled) == ["thumbnail", "rendered"]
        assert await all_of(own, wanted(series=9)) == []
        assert asked_for(assembled) == []
        assert not own.is_open(wanted(series=9))
        assert own.is_open(wanted(MR))
        assembled.clock.now += CANNOT_SECONDS
        assert own.is_open(wanted(series=9))


async def test_what_worked_in_between_keeps_a_way_open() -> None:
    async with over([ONE]) as assembled:
        server, own = assembled.doubles[0].server, own_pictures(assembled)
        server.on("/studies/1.2.3/series/1.2.3.9/*", DRAWN)
        for series in range(1, 9):
            await all_of(own, wanted(series=series))
            pictures = own.of(wanted(series=9))
            assert await anext(pictures) == PICTURE
            await pictures.aclose()


@pytest.mark.parametrize("answer", [Answer(status=500), Answer(raw=b""), Answer(status=429)])
async def test_an_archive_that_failed_may_recover(answer: Answer) -> None:
    async with over([ONE]) as assembled:
        server, own = assembled.doubles[0].server, own_pictures(assembled)
        server.on("*/thumbnail", answer)
        await all_of(own, wanted())
        assert own.may_recover(wanted())
        server.on("*/thumbnail", NONE)
        assembled.clock.now += SLOW_SECONDS
        await all_of(own, wanted())
        assert not own.may_recover(wanted())


async def test_an_instance_that_is_gone_says_nothing_of_its_kind() -> None:
    async with over([ONE]) as assembled:
        own, server = own_pictures(assembled), assembled.doubles[0].server
        for number in range(2, 2 * MOST_SERIES):
            server.on("*", NONE)
            assert await all_of(own, wanted(series=number)) == []
            server.on("*", DRAWN)
            asked_for(assembled)
            pictures = own.of(wanted())
            assert await anext(pictures) == PICTURE
            await pictures.aclose()
            assert asked_for(assembled) == ["thumbnail"]
