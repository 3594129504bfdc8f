"""Searches against an oracle: for any studies and any query, the answer is the obvious one.

The oracle builds the resource of every study and keeps those of which each criterion is true, in
words of its own. The studies are spread over two archives.
"""

from __future__ import annotations

import asyncio
import itertools
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.telemetry import Telemetry
from gateway.archives import Archives
from gateway.catalog import Catalog
from gateway.config import AnyArchive, DicomwebArchive, Fhir, Settings
from gateway.errors import ArchiveTimeout, TooCostly, Unavailable
from gateway.model import Consumer, Found, Identifier, Level, Patient, Study
from gateway.routes.fhir_entries import Entries
from gateway.routes.fhir_resources import Resources
from gateway.routes.fhir_search import ImagingStudySearch
from gateway.rules import fhir_bundle, fhir_requests, fhir_results, fhir_search, patient_ids
from gateway.rules.dicom_json import Dataset
from gateway.rules.fhir_patient import patient
from gateway.rules.fhir_requests import Sizes
from gateway.rules.fhir_search import Reading
from gateway.rules.fhir_versions import VERSIONS, Version
from gateway.rules.imaging_study_chains import CHAINS
from gateway.rules.imaging_study_parameters import PARAMETERS
from gateway.rules.qido import Query
from tests.rules.test_fhir_search import NOW
from tests.study_archive import SeriesFacts, StudyArchive, StudyFacts

ROOT = "1.2.826.9"
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
BASE = "https://gateway.example.org/fhir"
CONSUMER = Consumer(id="anybody")
ARCHIVES: dict[str, AnyArchive] = {
    name: DicomwebArchive(
        type="dicomweb", qido_rs=f"http://{name}.example.org", patient_system="urn:oid:2.999.1"
    )
    for name in ("north", "south")
}


def configured(**fhir: Any) -> Settings:
    """Settings of two archives that number patients alike."""
    return Settings(archives=ARCHIVES, fhir=Fhir.model_validate(fhir))


SETTINGS = configured(series_accessions=True, max_candidates=1000)
PATIENTS = patient_ids.of(SETTINGS)


def of_ward(value: str) -> str:
    """The id of a patient whose Patient ID is of the system of the issuer WARD."""
    found = PATIENTS.id_of(Patient(id=Identifier(value=value, system="urn:oid:2.999.3")))
    assert found is not None
    return found


IDENTIFIED = {
    "P1": {"system": "urn:oid:2.999.1", "value": "P1"},
    "P2": {"system": "urn:oid:2.999.1", "value": "P2"},
    of_ward("P1"): {"system": "urn:oid:2.999.3", "value": "P1"},
}
"""Whose resource each id names, to the oracle."""
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Subject:
    """One study as the oracle sees it: the whole resource, and its patient."""

    study: dict[str, Any]
    patient: dict[str, Any]

    def of_series(self, *path: str) -> list[Any]:
        return [v for s in self.study.get("series", ()) for v in walked(s, path)]


@dataclass(frozen=True)
class Asked:
    """A criterion as a client writes it, and what it means."""

    name: str
    text: str
    is_true: Callable[[Subject], bool]


def walked(element: Any, path: Sequence[str]) -> list[Any]:
    """What stands at the end of a path, lists opened on the way."""
    found = element if isinstance(element, list) else [element]
    for step in path:
        values = [one[step] for one in found if isinstance(one, dict) and step in one]
        found = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return found


def codes(elements: Sequence[Any]) -> list[str]:
    """All codes of Codings, CodeableConcepts and CodeableReferences."""
    return [
        *walked(list(elements), ["code"]),
        *walked(list(elements), ["coding", "code"]),
        *walked(list(elements), ["concept", "coding", "code"]),
    ]


def plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in apart if not unicodedata.combining(c)).casefold()


def is_about(subject: Subject, value: str) -> bool:
    """Whether a study is about the patient that a reference names."""
    written = value.removeprefix("x/").removeprefix("Patient/")
    return bool(subject.study["subject"].get("identifier") == IDENTIFIED.get(written, {}))


def begins(value: str, strings: Sequence[str]) -> bool:
    return any(plain(s).startswith(plain(value)) for s in strings)


def contained(subject: Subject, references: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    named = {r.get("reference", "")[1:] for r in references}
    return [c for c in subject.study.get("contained", ()) if c["id"] in named]


def any_of(values: list[str], test: Callable[[Subject, str], bool]) -> Callable[[Subject], bool]:
    return lambda subject: any(test(subject, v) for v in values)


def lists(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


def criteria(
    names: Sequence[str], values: st.SearchStrategy[list[str]], test: Callable[[Subject, str], bool]
) -> st.SearchStrategy[Asked]:
    """Criteria of one parameter by any of its names; several values mean any of them."""
    return st.builds(
        lambda name, vs: Asked(name, ",".join(vs), any_of(vs, test)),
        st.sampled_from(names),
        values,
    )


def missing(name: str, has: Callable[[Subject], bool]) -> st.SearchStrategy[Asked]:
    return st.sampled_from(["true", "false"]).map(
        lambda text: Asked(f"{name}:missing", text, lambda s: has(s) is (text == "false"))
    )


def has_modality(subject: Subject, value: str) -> bool:
    system, bar, code = value.rpartition("|")
    if bar and system != "http://dicom.nema.org/resources/ontology/DCM":
        return False
    found = codes(subject.of_series("modality"))
    return any(code in {one, one.lower()} for one in found)


def without(asked: Asked) -> Asked:
    return Asked(f"{asked.name}:not", asked.text, lambda subject: not asked.is_true(subject))


LENGTHS = {4: ("-01-01", "-12-31"), 7: ("-01", "-31"), 10: ("", ""), 24: ("", "")}


def compares(prefix: str, value: str, day: str) -> bool:
    """A date alone against a year, month or day, or instants in UTC, as text."""
    first, last = (value + end for end in LENGTHS[len(value)])
    is_in = first <= day <= last
    return {
        "": is_in,
        "eq": is_in,
        "ne": not is_in,
        "gt": day > last,
        "sa": day > last,
        "ge": day >= first,
        "lt": day < first,
        "eb": day < first,
        "le": day <= last,
    }[prefix]


def dates(name: str, of: Callable[[Subject], str | None], *values: str) -> st.SearchStrategy[Asked]:
    def made(prefix: str, value: str) -> Asked:
        def is_true(subject: Subject) -> bool:
            found = of(subject)
            return found is not None and compares(prefix, value, found[: max(10, len(value))])

        return Asked(name, prefix + value, is_true)

    prefixes = st.sampled_from(["", "eq", "ne", "gt", "ge", "lt", "le", "sa", "eb"])
    return st.builds(made, prefixes, st.sampled_from(values))


def identified(found: Sequence[dict[str, Any]], value: str) -> bool:
    system, bar, code = value.rpartition("|")
    return any(
        (not code or code == one["value"]) and (not bar or system == one.get("system", ""))
        for one in found
    )


def names_of(people: Sequence[dict[str, Any]], *parts: str) -> list[str]:
    written = [n for p in people for n in walked(p, ["name"])]
    found = [v for n in written for v in ([n] if isinstance(n, str) else walked(n, parts[:1]))]
    for part in parts[1:]:
        found += walked([n for n in written if isinstance(n, dict)], [part])
    return [str(v) for v in found]


WHOLE_NAME = ("family", "given", "prefix", "suffix", "text")
NAMES = lists("Curie", "cur", "müll", "Mull", "Marie", "山田", "yama", "urie", "x*", "Metro")


def found_by_uid(subject: Subject, value: str) -> bool:
    system, _, uid = value.rpartition("|")
    return system in {"", "urn:dicom:uid"} and uid.removeprefix("urn:oid:") == subject.study["id"]


ANY_CRITERION = st.one_of(
    criteria(
        ["modality"],
        lists(
            "CT",
            "MR",
            "ct",
            "SR",
            "C*",
            "http://x|CT",
            "http://dicom.nema.org/resources/ontology/DCM|MR",
        ),
        has_modality,
    ),
    criteria(["modality"], lists("CT", "MR", "sr"), has_modality).map(without),
    missing("modality", lambda s: bool(codes(s.of_series("modality")))),
    dates("started", lambda s: s.study.get("started"), "2020", "2020-05", "2020-05-14", "2021-12"),
    missing("started", lambda s: "started" in s.study),
    dates("patient.birthdate", lambda s: s.patient.get("birthDate"), "1970", "1970-01-31"),
    criteria(
        ["patient.identifier", "patient:identifier", "subject:Patient.identifier"],
        lists(
            "P1", "P?", "p1", "urn:oid:2.999.1|P1", "urn:oid:2.999.3|P1", "|P2", "urn:oid:2.999.3|"
        ),
        lambda s, v: identified(walked(s.study["subject"], ["identifier"]), v),
    ),
    missing("patient", lambda s: bool({"identifier", "display"} & s.study["subject"].keys())),
    criteria(
        ["patient.name", "subject.name", "patient:Patient.name"],
        NAMES,
        lambda s, v: begins(v, names_of([s.patient], *WHOLE_NAME)),
    ),
    criteria(["patient.family"], NAMES, lambda s, v: begins(v, names_of([s.patient], "family"))),
    criteria(["patient.given"], NAMES, lambda s, v: begins(v, names_of([s.patient], "given"))),
    criteria(
        ["patient.family:exact"],
        lists("Curie", "curie", "Müller"),
        lambda s, v: v in names_of([s.patient], "family"),
    ),
    criteria(
        ["patient.name:contains"],
        lists("uri", "ull"),
        lambda s, v: any(plain(v) in plain(n) for n in names_of([s.patient], *WHOLE_NAME)),
    ),
    criteria(
        ["patient.gender", "subject.gender"],
        lists("male", "female", "other", "http://x|male"),
        lambda s, v: s.patient.get("gender") == v,
    ),
    criteria(
        ["referrer.name"],
        NAMES,
        lambda s, v: begins(v, names_of(contained(s, walked(s.study, ["referrer"])), *WHOLE_NAME)),
    ),
    missing("referrer", lambda s: "referrer" in s.study),
    criteria(
        ["performer.name", "performer:Practitioner.name"],
        NAMES,
        lambda s, v: begins(
            v, names_of(contained(s, s.of_series("performer", "actor")), *WHOLE_NAME)
        ),
    ),
    criteria(
        ["identifier"],
        lists(
            "S1", "|S1", "S?", f"urn:dicom:uid|urn:oid:{ROOT}.1", f"urn:oid:{ROOT}.2", "http://x|S1"
        ),
        lambda s, v: (
            found_by_uid(s, v)
            or identified([i for i in s.study["identifier"] if "system" not in i], v)
        ),
    ),
    dates(
        "_lastUpdated",
        lambda s: s.study["meta"]["lastUpdated"],
        "2024-05",
        "2024-05-13",
        "2024-05-14",
        *(f"2024-05-13T{hour}:00:00.000Z" for hour in (21, 22, 23)),
        "2024-05-14T03:00:00.000Z",
    ),
    missing("_lastUpdated", lambda s: True),
    criteria(["_id"], lists(f"{ROOT}.1", f"{ROOT}.2", "no", "*"), lambda s, v: s.study["id"] == v),
    criteria(
        ["based-on:identifier", "basedon:identifier", "based-on.identifier"],
        lists("A1", "A2", "urn:oid:2.999.2|A1", "http://x|A1", "A*"),
        lambda s, v: identified(walked(s.study, ["basedOn", "identifier"]), v),
    ),
    missing("based-on", lambda s: "basedOn" in s.study),
    criteria(
        ["encounter:identifier"],
        lists("V1", "V*"),
        lambda s, v: identified(walked(s.study, ["encounter", "identifier"]), v),
    ),
    criteria(
        ["status"],
        lists("available", "registered", "cancelled"),
        lambda s, v: s.study["status"] == v,
    ),
    criteria(
        ["series"],
        lists(f"{ROOT}.1.1", f"urn:oid:{ROOT}.2.2", "1.2.3"),
        lambda s, v: v.removeprefix("urn:oid:") in s.of_series("uid"),
    ),
    criteria(
        ["instance"],
        lists(f"{ROOT}.1.1.1", f"urn:oid:{ROOT}.2.1.2", "no"),
        lambda s, v: v.removeprefix("urn:oid:") in s.of_series("instance", "uid"),
    ),
    criteria(
        ["dicom-class"],
        lists(f"urn:oid:{CT}", SR, f"urn:ietf:rfc:3986|urn:oid:{SR}"),
        lambda s, v: f"urn:oid:{v.rpartition('urn:oid:')[2]}" in sop_classes(s),
    ),
    criteria(
        ["body-site", "bodysite"],
        lists("72696002", "http://snomed.info/sct|69536005", "http://x|69536005", "KNEE"),
        lambda s, v: (
            not v.startswith("http://x") and v.rpartition("|")[2] in codes(s.of_series("bodySite"))
        ),
    ),
    criteria(
        ["reason", "reason-concept"],
        lists("21522001", "x"),
        lambda s, v: v in codes([*walked(s.study, ["reason"]), *walked(s.study, ["reasonCode"])]),
    ),
    criteria(
        ["endpoint"],
        lists("Endpoint/gateway-dicom-wado-rs", "gateway-dicom-qido-rs", "Endpoint/none"),
        lambda s, v: "gateway-" in v,
    ),
    criteria(["_tag:not", "_security:not"], lists("x"), lambda s, v: True),
    criteria(["_tag", "referrer", "subject:Device"], lists("Patient/P1", "x"), lambda s, v: False),
    criteria(
        ["patient", "subject", "patient:Patient", "subject:Patient"],
        lists(
            "Patient/P1",
            "P2",
            "x/Patient/P1",
            f"Patient/{of_ward('P1')}",
            "Patient/none",
            "Device/P1",
            "http://y/Patient/P1",
            "Patient/P1*",
        ),
        is_about,
    ),
)


def sop_classes(subject: Subject) -> list[str]:
    found = subject.of_series("instance", "sopClass")
    return [one if isinstance(one, str) else one["code"] for one in found]


any_series = st.builds(
    SeriesFacts,
    number=st.just(0),
    archives=st.sampled_from([("north",), ("south",), ("north", "south")]),
    modality=st.sampled_from([None, "CT", "MR", "SR"]),
    body_part=st.sampled_from([None, "KNEE", " head", "TOE"]),
    region=st.sampled_from([None, None, "72696002"]),
    accession=st.sampled_from([None, None, "A2"]),
    reason=st.sampled_from([None, None, "21522001"]),
    performer=st.sampled_from([None, "Curie^Marie", "Müller"]),
    sop_classes=st.lists(st.sampled_from([CT, SR]), max_size=2).map(tuple),
)
any_study = st.builds(
    StudyFacts,
    uid=st.just(""),
    series=st.lists(any_series, min_size=1, max_size=3).map(tuple),
    study_id=st.sampled_from([None, "S1", "S2"]),
    accession=st.sampled_from([None, None, "A1"]),
    date=st.sampled_from([None, "20200514", "20200101", "20211231"]),
    time=st.sampled_from([None, "1030", "235900"]),
    offset=st.sampled_from([None, "+0900"]),
    patient_id=st.sampled_from([None, "P1", "P2"]),
    issuer=st.sampled_from([None, None, "WARD", "ELSEWHERE"]),
    patient_name=st.sampled_from(
        [
            None,
            {"Alphabetic": "Curie^Marie"},
            {"Alphabetic": "Müller^Anna"},
            {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"},
        ]
    ),
    birth_date=st.sampled_from([None, "19700131", "19700201"]),
    sex=st.sampled_from([None, "M", "F", "X"]),
    referrer=st.sampled_from([None, "Curie^Marie", "Metro^Max"]),
    admission=st.sampled_from([None, "V1"]),
)


def numbered(studies: list[StudyFacts]) -> tuple[StudyFacts, ...]:
    """The studies with UIDs of their own, and their series with numbers."""
    return tuple(
        StudyFacts(
            **vars(study)
            | {
                "uid": f"{ROOT}.{at}",
                "series": tuple(
                    SeriesFacts(**vars(s) | {"number": n})
                    for n, s in enumerate(study.series, start=1)
                ),
            }
        )
        for at, study in enumerate(studies, start=1)
    )


studies = st.lists(any_study, min_size=1, max_size=8).map(numbered)
versions = st.sampled_from(sorted(VERSIONS))


class Hours:
    """A clock that goes on by an hour whenever it is read."""

    def __init__(self) -> None:
        self.now = datetime(2024, 5, 13, 20, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


class Gateway:
    """A catalog over two archives, searched as the facade does."""

    def __init__(
        self,
        held: Sequence[StudyFacts],
        version: str = "r5",
        settings: Settings = SETTINGS,
        north: type[StudyArchive] = StudyArchive,
        south: type[StudyArchive] = StudyArchive,
    ) -> None:
        self.archives = [north("north", held), south("south", held)]
        self.held = held
        self.settings = settings
        self.version: Version = VERSIONS[version]
        self.resources = Resources(
            settings=settings,
            patients=patient_ids.of(settings),
            consumer=CONSUMER,
            version=self.version,
        )
        lives = Lives(fresh_seconds=60, stale_seconds=60, absent_seconds=60)
        cache = MemoryCache(lives=lives, max_bytes=1 << 24, telemetry=Telemetry())
        self.catalog = Catalog(Archives(self.archives, cache, clock=Hours()))
        self.entries = Entries(cache, max_bytes=1 << 24)

    async def search(self, pairs: Pairs, *, strict: bool = False) -> dict[str, Any]:
        named = fhir_search.by_name((*PARAMETERS, *CHAINS), self.version.absent)
        search = fhir_requests.read(
            pairs,
            named,
            fhir_results.IMAGING_STUDIES,
            Reading(base="^x/", now=NOW, strict=strict),
            Sizes(usual=100, largest=100),
        )
        found = ImagingStudySearch(
            catalog=self.catalog,
            resources=self.resources,
            base=BASE,
            search=search,
            now=NOW,
            entries=self.entries,
        )
        bundle: dict[str, Any] = orjson.loads(orjson.dumps(await found.bundle()))
        assert found.told == fhir_bundle.ids(bundle, "ImagingStudy")
        return bundle

    async def pages(self, pairs: Pairs) -> list[list[str]]:
        """The ids on each page, by following the links."""
        found: list[list[str]] = []
        following: Pairs | None = pairs
        while following is not None:
            bundle = await self.search(following)
            found.append(ids(bundle))
            urls = [one["url"] for one in bundle["link"] if one["relation"] == "next"]
            following = tuple(parse_qsl(urlsplit(urls[0]).query)) if urls else None
        return found

    async def everything(self) -> list[Subject]:
        """Each study's whole resource with its patient: what the oracle looks at."""
        found = []
        for facts in self.held:
            study = (await self.catalog.study(CONSUMER, facts.uid, Level.INSTANCE)).study
            resource = self.resources.imaging_study(study)
            assert set(resource["meta"]) == {"lastUpdated"}
            found.append(Subject(resource, patient(study.patient, "p")))
        return found


def matches(bundle: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The resources that were found by id, without their version."""
    entries = [e["resource"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
    return {r["id"]: r | {"meta": without_version(r["meta"])} for r in entries}


def without_version(meta: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in meta.items() if k != "versionId"}


def ids(bundle: dict[str, Any]) -> list[str]:
    return list(matches(bundle))


@given(held=studies, asked=st.lists(ANY_CRITERION, max_size=10), version=versions)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_search_finds_what_an_obvious_filter_over_all_resources_finds(
    held: tuple[StudyFacts, ...], asked: list[Asked], version: str
) -> None:
    """Each criterion alone, and neighbours together."""

    async def compare() -> None:
        gateway = Gateway(held, version)
        subjects = await gateway.everything()
        whole = {s.study["id"]: s.study for s in subjects}
        together = [*([one] for one in asked), *map(list, itertools.pairwise(asked)), asked[:3]]
        for some in together:
            expected = {s.study["id"] for s in subjects if all(one.is_true(s) for one in some)}
            query = tuple((one.name, one.text) for one in some)
            bundle = await gateway.search(query)
            assert set(ids(bundle)) == expected, query
            assert bundle["total"] == len(expected)
            for uid, resource in matches(bundle).items():
                assert resource == whole[uid]

    asyncio.run(compare())


@given(
    held=studies,
    asked=st.lists(ANY_CRITERION, max_size=2),
    count=st.integers(1, 4),
    sort=st.sampled_from([None, "started", "-started", "_id", "-modality,started", "identifier"]),
    most=st.sampled_from([1, 2, 5, 1000]),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_pages_hold_every_match_exactly_once(
    held: tuple[StudyFacts, ...], asked: list[Asked], count: int, sort: str | None, most: int
) -> None:
    async def compare() -> None:
        whole = Gateway(held)
        pairs = tuple((one.name, one.text) for one in asked)
        order = (("_sort", sort),) if sort else ()
        expected = ids(await whole.search((*pairs, *order)))
        limited = configured(series_accessions=True, max_candidates=1000 if sort else most)
        pages = await Gateway(held, settings=limited).pages(
            (*pairs, *order, ("_count", str(count)))
        )
        found = [uid for page in pages for uid in page]
        assert len(found) == len(set(found))
        assert all(len(page) <= count for page in pages)
        if most == 1000 or sort:
            assert found == expected
            assert all(len(page) == count for page in pages[:-1])
        elif is_one_query(asked):
            assert set(found) == set(expected)

    asyncio.run(compare())


def is_one_query(asked: list[Asked]) -> bool:
    """Whether archives are asked for all candidates as one list, which pages lead through."""
    listed = {"modality", "started", "status"}
    return all(a.name.partition(":")[0] in listed and "," not in a.text for a in asked)


class Meanwhile(StudyArchive):
    """Answers no search for studies before it was asked for a record."""

    def __init__(self, id: str, studies: Sequence[StudyFacts]) -> None:
        super().__init__(id, studies)
        self.is_asked = asyncio.Event()

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        await self.is_asked.wait()
        return await super().search(query, wanted)

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        self.is_asked.set()
        return await super().study(study_uid, row)


async def test_only_study_that_can_match_is_loaded_while_it_is_searched_for() -> None:
    series = (SeriesFacts(number=1, archives=("north",), modality="CT", sop_classes=(CT,)),)
    held = tuple(StudyFacts(uid=f"{ROOT}.{n}", series=series) for n in (1, 2))
    gateway = Gateway(held, north=Meanwhile, south=Meanwhile)
    async with asyncio.timeout(20):
        assert ids(await gateway.search((("_id", f"{ROOT}.1"),))) == [f"{ROOT}.1"]
        assert ids(await gateway.search((("_id", f"{ROOT}.2"), ("modality", "MR")))) == []
        assert ids(await gateway.search((("_id", f"{ROOT}.3"),))) == []


@pytest.mark.parametrize("strict", [False, True])
async def test_too_many_candidates_are_a_partial_page_or_refused(*, strict: bool) -> None:
    series = (SeriesFacts(number=1, archives=("north",), modality="CT", sop_classes=(CT,)),)
    held = tuple(StudyFacts(uid=f"{ROOT}.{n}", series=series) for n in range(9))
    limited = configured(max_candidates=3)
    gateway = Gateway(held, settings=limited)
    query = (("status", "registered"), ("_count", "2"))
    if strict:
        with pytest.raises(TooCostly):
            await gateway.search(query, strict=True)
        return
    bundle = await gateway.search(query)
    (outcome,) = bundle["entry"]
    assert [i["code"] for i in outcome["resource"]["issue"]] == ["too-costly"]
    assert "total" not in bundle


async def test_classes_that_are_everywhere_are_looked_for_study_by_study() -> None:
    series = (SeriesFacts(number=1, archives=("north",), modality="CT", sop_classes=(CT,) * 5),)
    held = tuple(StudyFacts(uid=f"{ROOT}.{n}", series=series) for n in range(4))
    gateway = Gateway(held, settings=configured(max_candidates=10))
    bundle = await gateway.search((("dicom-class", CT),))
    assert len(ids(bundle)) == bundle["total"] == 4


@pytest.mark.parametrize(
    ("query", "is_shown"),
    [
        ((("modality", "CT"), ("_summary", "true")), False),
        ((("modality", "CT"), ("_elements", "started")), False),
        ((("modality", "CT"), ("_summary", "count")), False),
        ((("modality:not", "MR"), ("_count", "0")), False),
        ((("_elements", "started"),), False),
        ((("modality", "CT"),), True),
        ((("dicom-class", CT), ("_summary", "true")), True),
    ],
)
async def test_instances_are_asked_for_only_where_they_are_shown_or_looked_at(
    query: Pairs, is_shown: object
) -> None:
    gateway = Gateway((SHARED,))
    assert (await gateway.search(query))["total"] == 1
    assert any(one.asked_for_instances for one in gateway.archives) is is_shown


class Deaf(StudyArchive):
    """An archive that lists studies, and fails when it is asked for one."""

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        raise ArchiveTimeout("no answer in time", archive=self.id)


SHARED = StudyFacts(
    uid=f"{ROOT}.1",
    series=(
        SeriesFacts(number=1, archives=("north",), modality="CT", sop_classes=(CT,)),
        SeriesFacts(number=2, archives=("south",), modality="SR", sop_classes=(SR,)),
    ),
)
ELSEWHERE = StudyFacts(uid=f"{ROOT}.2", series=SHARED.series[1:])


async def test_studies_are_sorted_by_when_they_changed() -> None:
    gateway = Gateway((SHARED, ELSEWHERE))
    await gateway.catalog.study(CONSUMER, ELSEWHERE.uid, Level.SERIES)
    assert ids(await gateway.search((("_sort", "_lastUpdated"),))) == [ELSEWHERE.uid, SHARED.uid]
    assert ids(await gateway.search((("_sort", "-_lastUpdated"),))) == [SHARED.uid, ELSEWHERE.uid]


async def test_archive_that_fails_over_a_study_is_named() -> None:
    gateway = Gateway((SHARED, ELSEWHERE), south=Deaf)
    bundle = await gateway.search(())
    assert ids(bundle) == [SHARED.uid]
    assert "total" not in bundle
    (outcome,) = (e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "outcome")
    (issue,) = outcome["issue"]
    assert issue["code"] == "incomplete"
    assert issue["diagnostics"] == "archive south did not answer"
    with pytest.raises(Unavailable) as raised:
        await gateway.search((), strict=True)
    assert raised.value.archives == ("south",)


async def test_study_is_not_shown_for_a_patient_that_only_one_archive_takes_it_for() -> None:
    gateway = Gateway((replace(SHARED, patient_id="P1", patient_id_in_south="P2"),))
    assert ids(await gateway.search((("patient.identifier", "P1"),))) == [SHARED.uid]
    bundle = await gateway.search((("patient.identifier", "P2"),))
    assert ids(bundle) == []
    assert "total" not in bundle
