"""QIDO-RS at archives that cap, ignore, repeat and misspell."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.dicomweb_search import Searches
from gateway.adapters.http_client import ArchiveClient
from gateway.errors import ArchiveBadAnswer, ArchiveError
from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.adapters.clients import client as made_client
from tests.adapters.clients import paged
from tests.dicom import row
from tests.fault_archive import Answer, FaultArchive, json_answer

ALL = Query(level=Level.STUDY)
SERIES = Query(level=Level.SERIES, study_uid="1.2.3")


@pytest.fixture
async def client() -> AsyncIterator[ArchiveClient]:
    one = made_client()
    yield one
    await one.close()


@pytest.fixture
def searches(client: ArchiveClient, fault_archive: FaultArchive) -> Searches:
    return Searches("north", fault_archive.url, client)


def studies(count: int) -> list[Dataset]:
    return [row(StudyInstanceUID=f"1.2.{n}", PatientName=f"P{n % 3}^X") for n in range(count)]


def series(count: int, study: str = "1.2.3") -> list[Dataset]:
    return [row(StudyInstanceUID=study, SeriesInstanceUID=f"1.2.3.{n}") for n in range(count)]


def uids(rows: object, tag: str = dj.STUDY_INSTANCE_UID) -> list[str | None]:
    assert isinstance(rows, list | tuple)
    return [dj.text(r, tag) for r in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    count=st.integers(0, 60),
    cap=st.none() | st.integers(1, 25),
    wanted=st.none() | st.integers(1, 70),
    ignores=st.sampled_from([(), ("limit",)]),
)
async def test_every_row_is_found_whatever_the_archive_caps(
    client: ArchiveClient,
    fault_archive: FaultArchive,
    count: int,
    cap: int | None,
    wanted: int | None,
    ignores: tuple[str, ...],
) -> None:
    rows = studies(count)
    fault_archive.on("/studies", paged(rows, cap=cap, ignores=ignores))

    found = await Searches("north", fault_archive.url, client).found(ALL, wanted)

    expected = count if wanted is None else min(count, wanted)
    assert uids(found.items)[:expected] == uids(rows)[:expected]
    assert len(found.items) >= expected
    if len(found.items) < count:
        assert found.has_more


async def test_an_archive_that_ignores_offset_is_not_asked_for_ever(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", paged(studies(30), cap=30, ignores=("limit", "offset")))
    found = await searches.found(ALL, None)
    assert len(found.items) == 30
    assert not found.has_more
    assert len(fault_archive.requests) <= 2


async def test_an_archive_that_ignores_a_key_costs_few_requests(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    rows = studies(3000)
    rows[2999] = row(StudyInstanceUID="1.2.2999", PatientName="WANTED^ONE")
    fault_archive.on("/studies", paged(rows))
    query = Query(level=Level.STUDY, keys=(qido.key(dj.PATIENT_NAME, "WANTED*"),))

    found = await searches.found(query, 10)

    assert uids(found.items) == ["1.2.2999"]
    assert len(fault_archive.requests) < 15


async def test_rows_that_do_not_match_are_dropped(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    """An archive that does not know a key lists everything it has."""
    fault_archive.on("/studies", paged(studies(9), ignores=("PatientName",)))
    query = Query(level=Level.STUDY, keys=(qido.key(dj.PATIENT_NAME, "P1^X"),))
    assert uids((await searches.found(query, None)).items) == ["1.2.1", "1.2.4", "1.2.7"]


async def test_rows_of_one_study_that_tell_another_patient_are_told_apart(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    """An archive that files by patient holds a study of two patients twice."""
    first, other = (row(StudyInstanceUID="1.2.3", PatientID=value) for value in ("P1", "P2"))
    fault_archive.on("/studies", paged([first, first, other]))
    key = qido.key(dj.STUDY_INSTANCE_UID, "1.2.3")

    found = await searches.found(Query(level=Level.STUDY, keys=(key,)), 1)

    assert (found.items, found.again, found.has_more) == ((first,), (other,), False)


async def test_rows_of_another_study_are_dropped(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies/1.2.3/series", json_answer(series(2) + series(3, "1.9")))
    assert uids(await searches.below(SERIES, None), dj.SERIES_INSTANCE_UID) == [
        "1.2.3.0",
        "1.2.3.1",
    ]


@pytest.mark.parametrize(
    "answer",
    [Answer(status=204, content_type=None), json_answer([]), Answer(status=404), Answer(body=b"")],
    ids=["204", "[]", "404", "empty 200"],
)
async def test_all_ways_to_say_none_mean_none(
    searches: Searches, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("/studies", answer)
    fault_archive.on("/studies/1.2.3/series", answer)
    found = await searches.found(ALL, 10)
    assert (found.items, found.has_more) == ((), False)
    assert await searches.below(SERIES, 3) == []


async def test_one_object_instead_of_an_array_is_one_row(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", json_answer(studies(1)[0]))
    assert uids((await searches.found(ALL, 1)).items) == ["1.2.0"]


async def test_rows_without_a_legal_uid_name_nothing(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    bad: list[Dataset] = [
        {},
        {"0020000D": {"vr": "UI"}},
        {"0020000D": {"vr": "UI", "Value": []}},
        {"0020000D": {"vr": "UI", "Value": [None]}},
        {"0020000D": {"vr": "UI", "Value": ["../../system"]}},
        {"0020000D": {"vr": "UI", "Value": ["1" * 65]}},
        {"0020000D": None},
        {"0020000D": "1.2.3"},
    ]
    fault_archive.on("/studies", paged(bad + studies(1)))
    assert uids((await searches.found(ALL, None)).items) == ["1.2.0"]


@pytest.mark.parametrize("cap", [1, 2, 5])
async def test_capped_rows_below_a_study_are_paged_up_to_what_it_holds(
    searches: Searches, fault_archive: FaultArchive, cap: int
) -> None:
    fault_archive.on("/studies/1.2.3/series", paged(series(5), cap=cap))
    assert len(await searches.below(SERIES, 5)) == 5


@pytest.mark.parametrize("warns", [False, True])
@pytest.mark.parametrize(("count", "cap"), [(5, 1), (5, 2), (5, 5), (5, None)])
async def test_capped_rows_that_nobody_counts_are_paged_to_the_end(
    searches: Searches, fault_archive: FaultArchive, count: int, cap: int | None, *, warns: bool
) -> None:
    fault_archive.on("/studies/1.2.3/series", paged(series(count), cap=cap, warns=warns))
    assert len(await searches.below(SERIES, None)) == count


async def test_a_page_that_says_it_is_cut_off_is_not_the_last_however_short(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    """Some bound the bytes of an answer, and not its rows."""
    fault_archive.on("/studies", paged(studies(9)))
    await searches.found(ALL, None)
    fault_archive.on("/studies/1.2.3/series", paged(series(5), cap=3, warns=True))
    assert len(await searches.below(SERIES, None)) == 5


async def test_rows_that_nobody_counts_cost_one_request_once_a_longer_answer_has_come(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    requests = fault_archive.requests
    fault_archive.on("/studies/1.2.3/series", paged(series(5)))
    assert len(await searches.below(SERIES, None)) == 5
    assert len(requests) == 2
    fault_archive.on("/studies/1.2.3/series", paged(series(4)))
    assert len(await searches.below(SERIES, None)) == 4
    assert len(requests) == 3


async def test_an_archive_that_counts_nothing_and_ignores_offset_is_asked_twice(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    answer = paged(series(9), cap=5, ignores=("offset",), warns=True)
    fault_archive.on("/studies/1.2.3/series", answer)
    assert len(await searches.below(SERIES, None)) == 5
    assert len(fault_archive.requests) == 2


async def test_what_an_archive_counts_but_does_not_list_is_not_waited_for(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies/1.2.3/series", paged(series(5)))
    assert len(await searches.below(SERIES, 500)) == 5
    assert len(fault_archive.requests) == 2


async def test_rows_below_a_study_cost_one_request(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies/1.2.3/series", paged(series(5)))
    assert len(await searches.below(SERIES, 5)) == 5
    [seen] = fault_archive.requests
    assert "limit" not in seen.path


async def test_an_archive_that_does_not_decode_is_asked_with_wildcards(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    """As Debian's Orthanc: `limit=%31` is an error there, and encoded names find nothing."""
    rows = [row(StudyInstanceUID="1.2.1", PatientName="Müller^Jürgen")]
    fault_archive.on(
        "/studies",
        lambda seen: Answer(status=400) if "limit=%31" in seen.path else json_answer(rows),
    )
    query = Query(level=Level.STUDY, keys=(qido.key(dj.PATIENT_NAME, "Müller^J*"),))

    for _ in range(2):
        assert uids((await searches.found(query, 5)).items) == ["1.2.1"]

    probe, *asked = [seen.path for seen in fault_archive.requests]
    assert probe == "/studies?limit=%31"
    assert asked
    assert not any("%" in path for path in asked)


async def test_a_failing_archive_is_not_taken_for_one_that_does_not_decode(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", Answer(status=500), json_answer([]))
    query = Query(level=Level.STUDY, keys=(qido.key(dj.PATIENT_NAME, "Müller"),))
    with pytest.raises(ArchiveBadAnswer):
        await searches.found(query, 5)
    await searches.found(query, 5)
    assert "M%C3%BCller" in fault_archive.requests[-1].path


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=500),
        Answer(body=b"<html>login</html>", content_type="text/html"),
        Answer(body=b"[1]"),
        Answer(body=b"[{}", framing="close"),
    ],
)
async def test_a_failure_is_raised_and_not_an_empty_list(
    searches: Searches, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("/studies", answer)
    with pytest.raises(ArchiveError, match="archive north"):
        await searches.found(ALL, 5)


async def test_a_failure_on_a_later_page_is_raised(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", json_answer(studies(5)), Answer(status=500))
    with pytest.raises(ArchiveError):
        await searches.found(ALL, 50)


async def test_rows_asked_for_by_their_uids_are_not_asked_for_again(
    searches: Searches, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/studies", json_answer(studies(2)))
    key = qido.key(dj.STUDY_INSTANCE_UID, "1.2.0,1.2.1")
    found = await searches.found(Query(level=Level.STUDY, keys=(key,)), 1001)
    assert len(found.items) == 2
    assert not found.has_more
    assert len(fault_archive.requests) == 1
