"""Hidden and absent are the same, also while archives are silent; what is denied is noted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.telemetry import Telemetry
from gateway.archives import Archives
from gateway.disclosures import CURRENT, Disclosures
from gateway.errors import ArchiveUnreachable, GatewayError
from gateway.model import Consumer, Found, Level, Policy, Rule, Study, Target
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from gateway.visibility import Visibility
from tests.study_archive import SeriesFacts, StudyArchive, StudyFacts, instance_uid, series_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
IMAGES = SeriesFacts(number=1, archives=("north",), modality="CT", sop_classes=(CT,))
REPORT = SeriesFacts(number=2, archives=("north",), modality="SR", sop_classes=(SR,))
BOTH = StudyFacts(uid="2.1", series=(IMAGES, REPORT))
ALONE = StudyFacts(uid="2.2", series=(REPORT,))
BY_MODALITY = Consumer(id="a", policy=Policy(name="p", hide=(Rule(name="r", modalities=("SR",)),)))
BY_CLASS = Consumer(id="b", policy=Policy(name="p", hide=(Rule(name="r", sop_classes=(SR,)),)))


class Silent(StudyArchive):
    """An archive that cannot be reached."""

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        raise ArchiveUnreachable("cannot be reached", archive=self.id)

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        raise ArchiveUnreachable("cannot be reached", archive=self.id)


def over(archives: Sequence[StudyArchive], consumer: Consumer) -> Visibility:
    lives = Lives(fresh_seconds=60, stale_seconds=60, absent_seconds=60)
    cache = MemoryCache(lives=lives, max_bytes=1 << 24, telemetry=Telemetry())
    return Visibility(Archives(archives, cache), consumer)


NORTH = StudyArchive("north", (BOTH, ALONE))
HIDDEN_SERIES = series_uid(BOTH, REPORT)
TARGETS = {
    "study": (Target(study_uid="2.2"), Target(study_uid="2.404")),
    "series": (
        Target(study_uid="2.1", series_uid=HIDDEN_SERIES),
        Target(study_uid="2.1", series_uid="2.404"),
        Target(study_uid="2.2", series_uid="2.404"),
        Target(study_uid="2.404", series_uid="2.404"),
    ),
    "instance": (
        Target(
            study_uid="2.1", series_uid=HIDDEN_SERIES, instance_uid=instance_uid(BOTH, REPORT, 1)
        ),
        Target(study_uid="2.1", series_uid=HIDDEN_SERIES, instance_uid="2.404"),
        Target(study_uid="2.1", series_uid=series_uid(BOTH, IMAGES), instance_uid="2.404"),
        Target(study_uid="2.404", series_uid="2.404", instance_uid="2.404"),
    ),
    "frame": (
        Target(
            study_uid="2.1",
            series_uid=HIDDEN_SERIES,
            instance_uid=instance_uid(BOTH, REPORT, 1),
            frames=(1,),
        ),
        Target(study_uid="2.404", series_uid="2.404", instance_uid="2.404", frames=(1,)),
    ),
}


async def refusal(visibility: Visibility, target: Target) -> tuple[type[GatewayError], str]:
    is_study = target.level is Level.STUDY
    asked = (
        visibility.study(target.study_uid, Level.STUDY) if is_study else visibility.located(target)
    )
    with pytest.raises(GatewayError) as raised:
        await asked
    return type(raised.value), str(raised.value)


@pytest.mark.parametrize("consumer", [BY_MODALITY, BY_CLASS], ids=lambda c: c.id)
@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("others", [(), (Silent("south", ()),)], ids=["well", "silent"])
async def test_what_is_hidden_is_told_like_what_is_absent(
    level: str, consumer: Consumer, others: Sequence[StudyArchive]
) -> None:
    told = {await refusal(over([NORTH, *others], consumer), one) for one in TARGETS[level]}
    assert len(told) == 1, told


async def test_what_is_denied_is_noted_and_what_is_absent_is_not() -> None:
    for target, denied in ((TARGETS["series"][0], {"2.1"}), (TARGETS["series"][1], set[str]())):
        noted = Disclosures()
        token = CURRENT.set(noted)
        await refusal(over([NORTH], BY_MODALITY), target)
        CURRENT.reset(token)
        assert (set(noted.denied), set(noted.shown)) == (denied, set())


async def test_an_archive_that_is_silent_over_a_study_is_named() -> None:
    visibility = over([Silent("south", ())], BY_MODALITY)
    assert await visibility.studies(["2.1"], Level.STUDY) == ({}, ("south",))
