"""What is rejected is there for those whom a policy shows it; what is hidden points out nothing."""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from gateway.errors import NotFound
from gateway.model import Consumer, Level, Policy, Rule, Target
from gateway.rules.media import ANY, Form
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held, key_objects
from tests.fault_archive import Answer

QUALITY, SAFETY = "113001", "113037"
A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2")
C = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="MR")
D = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.3")
BAD = key_objects("1.2.3", 9, QUALITY, A, C)
HARMFUL = key_objects("1.2.3", 8, SAFETY, C, D)
FLAGS = key_objects("1.2.3", 7, "113000", A)
ALL_KINDS = Form(is_multipart=True, types=("application/dicom",), transfer_syntaxes=(ANY,))
STUDY = Target(study_uid="1.2.3")


def consumer(*, hide: tuple[Rule, ...] = (), allow: tuple[Rule, ...] = ()) -> Consumer:
    return Consumer(id="qa", policy=Policy(name="qa", hide=hide, allow=allow))


def rule(*titles: str | None, **more: tuple[str, ...]) -> Rule:
    return Rule(name="r", rejections=titles, **more)  # type: ignore[arg-type]  # no other fields


QA = consumer(allow=(rule(None, QUALITY),))
HELD = [A, B, C, D, BAD, HARMFUL, FLAGS]


async def seen(assembled: Assembled, who: Consumer) -> set[str]:
    study = (await assembled.catalog.study(who, "1.2.3", Level.INSTANCE)).study
    listed = {i.uid for s in study.series or () for i in s.instances or ()}
    assert study.number_of_instances == len(listed)
    async with assembled.catalog.metadata(who, STUDY) as metadata:
        objects = [orjson.loads(o) async for batch in metadata.batches for o in batch]
    assert {o["00080018"]["Value"][0] for o in objects} == listed
    return listed


def uids(*held: Held) -> set[str]:
    return {h.instance for h in held}


async def test_a_policy_shows_what_is_rejected_for_one_reason_and_no_other() -> None:
    async with over(HELD) as assembled:
        for _ in range(2):  # cold and warm, whoever asks first
            assert await seen(assembled, ANYONE) == uids(B, FLAGS)
            assert await seen(assembled, QA) == uids(A, B, BAD, FLAGS)
        only = consumer(allow=(rule(QUALITY, SAFETY),))
        assert await seen(assembled, only) == uids(A, C, D, BAD, HARMFUL)
        images = consumer(hide=(rule(modalities=("KO",)),), allow=(rule(None, QUALITY),))
        assert await seen(assembled, images) == uids(A, B), "notes that are hidden count as well"


async def test_nothing_is_missed_that_exists_for_nobody() -> None:
    async with over(HELD) as assembled:
        study = (await assembled.catalog.study(QA, "1.2.3", Level.INSTANCE)).study
        assert not study.is_subset
        hiding = consumer(hide=(rule(QUALITY),), allow=(rule(None, QUALITY),))
        study = (await assembled.catalog.study(hiding, "1.2.3", Level.INSTANCE)).study
        assert study.is_subset


async def test_notes_in_another_archive_and_notes_that_archives_disregard() -> None:
    async with over([A, B, C, D], [BAD], [HARMFUL]) as assembled:
        assert await seen(assembled, QA) == uids(A, B, BAD)
    async with over(HELD, show_rejected=True) as assembled:
        assert await seen(assembled, ANYONE) == uids(*HELD)
        hiding = consumer(hide=(rule(SAFETY),))
        assert await seen(assembled, hiding) == uids(A, B, BAD, FLAGS)
        assert await seen(assembled, QA) == uids(A, B, BAD, FLAGS)


@pytest.mark.parametrize("held", [C, D, HARMFUL], ids=["both", "instance", "note"])
async def test_what_is_not_shown_is_not_found(held: Held) -> None:
    target = Target(study_uid="1.2.3", series_uid=held.series, instance_uid=held.instance)
    async with over(HELD) as assembled:
        with pytest.raises(NotFound):
            await assembled.catalog.located(QA, target)
        with pytest.raises(NotFound):
            await assembled.pictures.thumbnail(QA, target, 64, 64, "image/png")
        async with assembled.catalog.retrieve(QA, STUDY, ALL_KINDS) as found:
            bodies = [b"".join([c async for c in part.chunks]) async for part in found.parts]
        assert sorted(bodies) == sorted(h.file for h in (A, B, BAD, FLAGS))


async def test_while_notes_cannot_be_read_rules_on_them_show_nothing() -> None:
    async with over([A, B, BAD]) as assembled:
        server = assembled.doubles[0].server
        server.on("*/metadata", Answer(status=500))
        for who in (QA, consumer(hide=(rule(SAFETY),))):
            with pytest.raises(NotFound):
                await assembled.catalog.study(who, "1.2.3", Level.SERIES)
        server.on("*/metadata", assembled.doubles[0].answer)
        assembled.clock.now += 60
        assert await seen(assembled, QA) == uids(A, B, BAD)


async def test_why_is_told_instance_by_instance() -> None:
    async with over(HELD) as assembled:
        told = {
            v.instance_uid or v.series_uid: (v.is_visible, v.why)
            for v in await assembled.catalog.explained(QA, "1.2.3")
        }
        assert told[A.instance] == (True, "policy qa, r")
        assert told[C.series] == (
            False,
            f"it is rejected ({QUALITY}, {SAFETY}), and no rule allows that",
        )
        anyone = await assembled.catalog.explained(ANYONE, "1.2.3")
        assert [v.why for v in anyone if v.instance_uid == B.instance] == ["there is no policy"]
        assert [v.is_visible for v in anyone if v.instance_uid == A.instance] == [False]


# What key object selections point out


async def pictured(assembled: Assembled, who: Consumer) -> str | None:
    return (await assembled.catalog.shown(who, STUDY)).target.instance_uid


PLAIN = [A, B, D]
"""Of which B, in the middle, stands for the others, and `FLAGS` points out A."""


async def test_a_selection_that_is_hidden_points_out_nothing() -> None:
    same_series = dataclasses.replace(
        key_objects("1.2.3", 7, "113000", A), series=A.series, modality="CT"
    )
    hidden_ways = {
        "series": (FLAGS, Rule(name="r", modalities=("KO",))),
        "class": (FLAGS, Rule(name="r", sop_classes=("1.2.840.10008.5.1.4.1.1.88.*",))),
        "described": (FLAGS, Rule(name="r", patients=(), archives=("south",))),
        "mixed": (same_series, Rule(name="r", sop_classes=(FLAGS.sop_class,))),
    }
    for way, (selection, hide) in hidden_ways.items():
        north, south = ([*PLAIN], [selection]) if way == "described" else ([*PLAIN, selection], [])
        async with over(north, south) as assembled:
            assert await pictured(assembled, consumer(hide=(hide,))) == B.instance, way
            if way != "mixed":
                assert await pictured(assembled, ANYONE) == A.instance, way


async def test_a_selection_that_is_rejected_points_out_nothing() -> None:
    note = key_objects("1.2.3", 9, QUALITY, FLAGS)
    beside = dataclasses.replace(
        key_objects("1.2.3", 7, "113000", D), instance="1.2.3.7.2", series=FLAGS.series
    )
    async with over([*PLAIN, FLAGS, beside, note]) as assembled:
        assert await pictured(assembled, ANYONE) == D.instance
        series = Target(study_uid="1.2.3", series_uid=A.series)
        shown = await assembled.catalog.shown(ANYONE, series)
        assert shown.target.instance_uid == D.instance
        assert await pictured(assembled, QA) == A.instance, "it exists for them"
