"""Hidden or absent: archives are asked for as much, so that waiting tells nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from gateway.errors import GatewayError, NotFound
from gateway.model import Consumer, Identifier, Level, Policy, Rule, Target
from gateway.rules import qido
from gateway.rules.media import ANY, Form
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held

ABSENT = "1.2.404"
IMAGE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
REPORT = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="SR")
ALONE = Held(study="1.2.5", series="1.2.5.1", instance="1.2.5.1.1", modality="SR")
ALL_KINDS = Form(is_multipart=True, types=("application/dicom",), transfer_syntaxes=(ANY,))
BY_SERIES = Consumer(id="s", policy=Policy(name="p", hide=(Rule(name="r", modalities=("SR",)),)))
BY_ARCHIVE = Consumer(id="a", policy=Policy(name="p", hide=(Rule(name="r", archives=("south",)),)))
BOUND = Consumer(id="b", patients=(Identifier(value="P2", system="s"),))
_Ask = Callable[[Assembled, Consumer, Target], Awaitable[object]]


async def retrieved(assembled: Assembled, who: Consumer, target: Target) -> None:
    async with assembled.catalog.retrieve(who, target, ALL_KINDS):
        pass


async def described(assembled: Assembled, who: Consumer, target: Target) -> None:
    async with assembled.catalog.metadata(who, target):
        pass


async def pictured(assembled: Assembled, who: Consumer, target: Target) -> None:
    await assembled.pictures.thumbnail(who, target, 64, 64, "image/png")


async def read(assembled: Assembled, who: Consumer, target: Target) -> None:
    await assembled.catalog.study(who, target.study_uid, Level.INSTANCE)


async def searched(assembled: Assembled, who: Consumer, target: Target) -> None:
    key = qido.key("0020000D", target.study_uid)
    found = await assembled.catalog.search(who, Query(level=Level.STUDY, keys=(key,)))
    assert not found.items
    raise NotFound("nothing")


def targets(study: str, series: str, instance: str) -> dict[str, Target]:
    of_series = Target(study_uid=study, series_uid=series)
    return {
        "study": Target(study_uid=study),
        "series": of_series,
        "instance": replace(of_series, instance_uid=instance),
        "frame": replace(of_series, instance_uid=instance, frames=(1,)),
    }


PAIRS: list[tuple[str, Consumer, Target, Target]] = [
    (f"{way}, {level}", who, hidden[level], absent[level])
    for way, who, hidden, absent in (
        (
            "study hidden by series",
            BY_SERIES,
            targets(ALONE.study, ALONE.series, ALONE.instance),
            targets(ABSENT, ABSENT, ABSENT),
        ),
        (
            "another patient's",
            BOUND,
            targets(IMAGE.study, IMAGE.series, IMAGE.instance),
            targets(ABSENT, ABSENT, ABSENT),
        ),
        (
            "series hidden in a study",
            BY_SERIES,
            targets(REPORT.study, REPORT.series, REPORT.instance),
            targets(REPORT.study, ABSENT, ABSENT),
        ),
        (
            "archive hidden",
            BY_ARCHIVE,
            targets(ALONE.study, ALONE.series, ALONE.instance),
            targets(ABSENT, ABSENT, ABSENT),
        ),
    )
    for level in ("study", "series", "instance", "frame")
    if not (way.startswith("series") and level == "study")
]


async def asked(assembled: Assembled, ask: _Ask, who: Consumer, target: Target) -> int:
    """How many requests the archives see of a question that is answered with nothing."""
    before = assembled.asked
    with pytest.raises(GatewayError) as refused:
        await ask(assembled, who, target)
    assert isinstance(refused.value, NotFound)
    return assembled.asked - before


async def costs(ask: _Ask, who: Consumer, target: Target, *, is_known: bool) -> list[int]:
    """What one question costs when it is new, again, and when what is absent is doubted again."""
    async with over([IMAGE, REPORT], [ALONE], absent_seconds=15) as assembled:
        if is_known:  # somebody else has just looked at all there is
            for study in (IMAGE.study, ALONE.study):
                await assembled.catalog.study(ANYONE, study, Level.INSTANCE)
        found = [await asked(assembled, ask, who, target) for _ in range(2)]
        assembled.clock.now += 16
        found += [await asked(assembled, ask, who, target) for _ in range(2)]
        return found


@pytest.mark.parametrize("ask", [retrieved, described, pictured])
@pytest.mark.parametrize("is_known", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("pair", PAIRS, ids=[p[0] for p in PAIRS])
async def test_archives_are_asked_as_much_for_what_is_hidden_as_for_what_is_absent(
    pair: tuple[str, Consumer, Target, Target], ask: _Ask, *, is_known: bool
) -> None:
    _, who, hidden, absent = pair
    told = await costs(ask, who, hidden, is_known=is_known)
    assert told == await costs(ask, who, absent, is_known=is_known)


@pytest.mark.parametrize("ask", [read, searched])
@pytest.mark.parametrize("is_known", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("who", [BY_SERIES, BY_ARCHIVE], ids=["by series", "by archive"])
async def test_studies_that_are_named_cost_as_much_whether_they_are_hidden(
    who: Consumer, ask: _Ask, *, is_known: bool
) -> None:
    hidden, absent = Target(study_uid=ALONE.study), Target(study_uid=ABSENT)
    told = await costs(ask, who, hidden, is_known=is_known)
    assert told == await costs(ask, who, absent, is_known=is_known)
