"""Since when a study has been as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Cache, DicomwebArchive, Fhir, Server, Settings
from gateway.model import Contents, Instance, Series
from gateway.rules import last_updated
from gateway.rules.last_updated import (
    Noticed,
    content_read,
    instances_read,
    study_digest,
    study_read,
)
from tests.study_records import SERIES_LEVEL, SIDED

T = [f"2024-05-14T10:00:0{second}.000Z" for second in range(6)]
ONE, TWO = ("1", (Instance(uid="1.1"),)), ("2", (Instance(uid="2.1"),))
LIST = Contents(instances=dict((ONE, TWO)))
TOLD = replace(LIST, series=(Series(uid="1", archives=("north",), laterality="L"),))
OTHER_LISTS = (Contents(instances=dict((ONE,))), TOLD, replace(LIST, warnings=("odd",)))
MOMENTS = st.timedeltas(timedelta(), timedelta(days=36525)).map(
    lambda passed: datetime(2000, 1, 1, tzinfo=UTC) + passed
)
FOUND = replace(SERIES_LEVEL, last_updated=T[0])


@given(moment=MOMENTS)
def test_instant_is_the_first_millisecond_that_is_not_before_the_moment(moment: datetime) -> None:
    written = last_updated.instant(moment.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert len(written) == len("2024-05-14T10:00:00.000Z")
    read = datetime.fromisoformat(written)
    assert timedelta() <= read - moment < timedelta(milliseconds=1)


@given(moments=st.lists(MOMENTS))
def test_instants_are_ordered_as_their_texts_are(moments: list[datetime]) -> None:
    assert sorted(map(last_updated.instant, moments)) == list(
        map(last_updated.instant, sorted(moments))
    )


def test_what_was_never_seen_has_been_so_since_now() -> None:
    seen = study_read(None, SERIES_LEVEL, T[0])
    assert seen == Noticed(study=study_digest(SERIES_LEVEL), last_updated=T[0])


def test_what_an_archive_never_had_is_not_noticed() -> None:
    assert study_read(None, None, T[0]) is None


def test_same_content_keeps_its_time_and_its_instances() -> None:
    before = Noticed(study=study_digest(SERIES_LEVEL), instances=b"x", last_updated=T[0])
    again = replace(SERIES_LEVEL, last_updated=T[3])
    assert study_read(before, again, T[1]) == before


def test_other_content_moves_the_time_and_nobody_has_read_its_instances() -> None:
    before = Noticed(study=study_digest(SERIES_LEVEL), instances=b"x", last_updated=T[0])
    renamed = replace(SERIES_LEVEL, description="other")
    assert study_read(before, renamed, T[1]) == Noticed(
        study=study_digest(renamed), last_updated=T[1]
    )


def test_study_that_vanishes_and_comes_back_moves_twice() -> None:
    before = Noticed(study=study_digest(SERIES_LEVEL), last_updated=T[0])
    gone = study_read(before, None, T[1])
    assert gone == Noticed(study=None, last_updated=T[1])
    assert study_read(gone, None, T[2]) == gone
    back = study_read(gone, SERIES_LEVEL, T[3])
    assert back == replace(before, last_updated=T[3])


def test_time_never_goes_back_whatever_the_clock_says() -> None:
    before = Noticed(study=b"other", last_updated=T[5])
    seen = study_read(before, SERIES_LEVEL, T[0])
    assert seen is not None
    assert seen.last_updated == "2024-05-14T10:00:05.001Z"


def test_first_reading_of_the_instances_does_not_move_the_time() -> None:
    before = Noticed(study=study_digest(FOUND), last_updated=T[0])
    seen = instances_read(before, FOUND, LIST, T[1])
    assert seen is not None
    assert (seen.last_updated, seen.study) == (T[0], before.study)
    assert instances_read(seen, FOUND, Contents(instances=dict((TWO, ONE))), T[2]) == seen
    for changed in OTHER_LISTS:
        other = instances_read(seen, FOUND, changed, T[3])
        assert other is not None
        assert other.last_updated == T[3]
        assert other.study == seen.study


def test_instances_of_what_is_no_longer_the_study_are_not_noticed() -> None:
    before = Noticed(study=study_digest(SIDED), last_updated=T[0])
    assert instances_read(before, FOUND, LIST, T[1]) is None


def test_instances_of_which_nothing_is_known_any_more_count_as_new() -> None:
    seen = instances_read(None, FOUND, LIST, T[1])
    assert seen is not None
    assert seen.last_updated == T[1]


def test_latest_counts() -> None:
    known = [Noticed(study=b"1", last_updated=T[1]), Noticed(study=b"2", last_updated=T[0])]
    assert last_updated.newest(known) == known[0]
    assert last_updated.newest([]) is None
    assert last_updated.latest([None, T[0], T[2], T[1]]) == T[2]
    assert last_updated.latest([None]) is None


SETTINGS = Settings(
    archives={"north": DicomwebArchive(type="dicomweb", qido_rs="https://north.example.org")}
)


def archive(**more: object) -> Settings:
    section = SETTINGS.archives["north"].model_copy(update=more)
    return SETTINGS.model_copy(update={"archives": {"north": section}})


def of_port(port: int, public_url: str) -> Settings:
    return SETTINGS.model_copy(update={"server": Server(port=port, public_url=public_url)})


@pytest.mark.parametrize(
    ("settings", "is_same"),
    [
        (SETTINGS.model_copy(update={"cache": Cache(fresh_seconds=5)}), True),
        (SETTINGS.model_copy(update={"server": Server(port=9999, workers=3)}), True),
        (SETTINGS.model_copy(update={"fhir": Fhir(default_count=7, max_candidates=3)}), True),
        (archive(timeout_seconds=3.0), True),
        (archive(timezone="Europe/Paris"), False),
        (archive(issuer_systems={"WARD": "urn:oid:1.2"}), False),
        (SETTINGS.model_copy(update={"fhir": Fhir(accession_as_identifier=True)}), False),
        (SETTINGS.model_copy(update={"server": Server(public_url="https://x.example")}), False),
        (of_port(9999, "http://127.0.0.1:9999"), True),
    ],
)
def test_settings_count_that_decide_on_how_resources_read(
    settings: Settings, *, is_same: bool
) -> None:
    digest = last_updated.settings_digest(SETTINGS, "1.0")
    assert (last_updated.settings_digest(settings, "1.0") == digest) is is_same
    assert last_updated.settings_digest(SETTINGS, "1.1") != digest


def test_other_things_that_resources_are_made_of_have_their_time_too() -> None:
    seen = content_read(None, ["note"], T[0])
    assert seen.last_updated == T[0]
    assert content_read(seen, ["note"], T[1]) == seen
    assert content_read(seen, None, T[2]).last_updated == T[2]
