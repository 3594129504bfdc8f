"""Study records that tell: hand-made ones by name, and any odd one by hypothesis."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from gateway.model import (
    Code,
    Identifier,
    Instance,
    Order,
    Organization,
    Patient,
    Person,
    PersonName,
    Series,
    Specimen,
    Study,
)

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
US_CLIP = "1.2.840.10008.5.1.4.1.1.3.1"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"

RADIOLOGIST = Person(
    name=PersonName(alphabetic="Curie^Marie^Salomea^Dr^MD"),
    codes=(Code(value="4711", scheme="99HOSP", meaning="Dr Curie"),),
)
TECHNOLOGIST = Person(name=PersonName(alphabetic="Roentgen"))
YAMADA = PersonName(alphabetic="Yamada^Tarou", ideographic="山田^太郎", phonetic="やまだ^たろう")

WHOLE = Study(
    uid="1.2.826.1",
    archives=("north",),
    patient=Patient(
        id=Identifier(value="P-1", system="urn:oid:1.2.3.4"),
        name=YAMADA,
        birth_date="1970-01-31",
        sex="M",
    ),
    study_id="S1",
    accession=Identifier(value="A-77", system="urn:oid:1.2.3.5"),
    date="2020-05-14",
    time="10:20:30.5",
    utc_offset="+02:00",
    description="CT abdomen",
    modalities=("CT", "SR"),
    referring_physician=RADIOLOGIST,
    physicians_reading=(RADIOLOGIST, TECHNOLOGIST),
    procedure_codes=(
        Code(value="41806003", scheme="SCT", meaning="CT of abdomen"),
        Code(value="P5-0808E", scheme="SRT", meaning="Abdomen CT by its old code"),
        Code(value="CT01", scheme="99HOSP", scheme_uid="1.2.40.1", meaning="Our CT"),
    ),
    admission=Identifier(value="V-9", assigner="WARD"),
    number_of_series=2,
    number_of_instances=3,
    series=(
        Series(
            uid="1.2.826.1.1",
            archives=("north",),
            modality="CT",
            number=1,
            description="axial 5 mm",
            number_of_instances=2,
            date="2020-05-14",
            time="10:25:00",
            utc_offset="+02:00",
            body_part="ABDOMEN",
            performing_physicians=(RADIOLOGIST,),
            operators=(TECHNOLOGIST, TECHNOLOGIST),
            manufacturer="ACME",
            manufacturer_model_name="Scanner 3000",
            device_serial_number="42",
            station_name="CT-ROOM-1",
            institution_name="Metro Hospital",
            department_name="Radiology",
            reason_codes=(Code(value="21522001", scheme="SCT", meaning="Abdominal pain"),),
            reason_texts=("pain since Monday",),
            instances=(
                Instance(uid="1.2.826.1.1.1", sop_class_uid=CT_IMAGE, number=1),
                Instance(uid="1.2.826.1.1.2", sop_class_uid=CT_IMAGE, number=2),
            ),
        ),
        Series(
            uid="1.2.826.1.2",
            archives=("north",),
            modality="SR",
            number=2,
            number_of_instances=1,
            instances=(
                Instance(
                    uid="1.2.826.1.2.1",
                    sop_class_uid=BASIC_TEXT_SR,
                    number=1,
                    title="Radiology Report",
                ),
            ),
        ),
    ),
)

ODD = Study(
    uid="1.2.826.2",
    archives=("north",),
    date="1999-12-31",
    time="23:00:00",
    series=(
        Series(
            uid="1.2.826.2.1",
            archives=("north",),
            number=-5,
            body_part="left  big toe",
            laterality="L",
            operators=(Person(name=PersonName(alphabetic="^^^^")),),
            instances=(
                Instance(uid="1.2.826.2.1.1"),
                Instance(uid="1.2.826.2.1.2", sop_class_uid="1.2.0840.7", number=2**31),
            ),
        ),
    ),
)

SIDED = Study(
    uid="1.2.826.3",
    archives=("north", "south"),
    patient=Patient(name=PersonName(ideographic="王^小东")),
    date="2024-02-29",
    series=(
        Series(
            uid="1.2.826.3.1",
            archives=("north",),
            modality="MR",
            anatomic_region=Code(value="72696002", scheme="SCT", meaning="Knee"),
            accessions=(Identifier(value="A-1"), Identifier(value="A-2", system="urn:oid:1.9")),
            instances=(
                Instance(uid="1.2.826.3.1.1", sop_class_uid=MR_IMAGE, image_laterality="R"),
                Instance(uid="1.2.826.3.1.2", sop_class_uid=MR_IMAGE, image_laterality="R"),
            ),
        ),
        Series(
            uid="1.2.826.3.2",
            archives=("south",),
            modality="MR",
            laterality="R",
            instances=(Instance(uid="1.2.826.3.2.1", sop_class_uid=MR_IMAGE),),
        ),
    ),
)

REQUESTED = Study(
    uid="1.2.826.7",
    archives=("north",),
    patient=Patient(id=Identifier(value="P-2")),
    accession=Identifier(value="A-9", system="urn:oid:1.2.3.5"),
    date="2023-11-05",
    procedure_codes=(Code(value="CT02", scheme="99HOSP", meaning="Ours, in words"),),
    orders=(
        Order(
            placer=Identifier(value="PL-1", system="urn:oid:1.2.3.6"),
            filler=Identifier(value="FI-1", assigner="RIS"),
        ),
    ),
    series=(
        Series(
            uid="1.2.826.7.1",
            archives=("north",),
            modality="US",
            anatomic_region=Code(value="T-D9200", scheme="SRT", meaning="Knee"),
            performed_location="ROOM 7",
            institution_name="Metro Hospital",
            institution=Code(value="H-1", scheme="99HOSP", scheme_uid="1.2.40.2"),
            custodians=(
                Organization(
                    name="Regional Archive",
                    id=Identifier(value="RA", system="https://ids.example.org/custodians"),
                ),
            ),
            accessions=(Identifier(value="A-10"),),
            orders=(
                Order(accession=Identifier(value="A-10"), placer=Identifier(value="PL-2")),
                Order(filler=Identifier(value="FI-1", assigner="RIS")),
            ),
            specimens=(Specimen(uid="1.2.826.7.8"),),
            instances=(
                Instance(uid="1.2.826.7.1.1", sop_class_uid=US_CLIP, number_of_frames=40),
                Instance(uid="1.2.826.7.1.2", sop_class_uid=US_CLIP, number_of_frames=1),
            ),
        ),
        Series(
            uid="1.2.826.7.2",
            archives=("north",),
            modality="KO",
            instances=(
                Instance(uid="1.2.826.7.2.1", sop_class_uid=KEY_OBJECTS, title="Of Interest"),
            ),
        ),
        Series(
            uid="1.2.826.7.3",
            archives=("north",),
            modality="DOC",
            instances=(
                Instance(
                    uid="1.2.826.7.3.1",
                    sop_class_uid=ENCAPSULATED_PDF,
                    title="Referral note",
                    document_title="Letter to the GP",
                ),
            ),
        ),
    ),
)

STUDY_LEVEL = replace(WHOLE, uid="1.2.826.4", series=None)
SERIES_LEVEL = replace(
    WHOLE, uid="1.2.826.5", series=tuple(replace(s, instances=None) for s in WHOLE.series or ())
)
EMPTY = Study(uid="1.2.826.6", archives=("north",), number_of_instances=0, series=())

TELLING = {
    "whole": WHOLE,
    "odd": ODD,
    "sided": SIDED,
    "requested": REQUESTED,
    "study-level": STUDY_LEVEL,
    "series-level": SERIES_LEVEL,
    "empty": EMPTY,
}

uids = st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)
accepted_uids = st.one_of(uids, st.just("1.02.3"))
odd_uids = st.one_of(uids, st.sampled_from(["1.02.3", "", "x", "1..2", "3" * 70, "1.2/3", "٣.٤"]))
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
codes_in_words = st.sampled_from(["CT", "MR", "SR", "ct", "X Y", " ", "A\\B", "é"])
numbers = st.one_of(st.none(), st.integers(-5, 5), st.sampled_from([2**31 - 1, 2**31, 10**12]))
dates = st.one_of(st.none(), st.dates().map(lambda day: day.isoformat()))
times = st.sampled_from([None, "00:00:00", "23:59:59.999999", "12:30:00.5"])
offsets = st.sampled_from([None, "+00:00", "-05:30", "+14:00"])


def maybe(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.one_of(st.none(), strategy)


names = st.one_of(
    st.none(),
    st.builds(
        PersonName,
        alphabetic=maybe(st.one_of(words, st.sampled_from(["^^^^", "A^B^C^D^E", "^B"]))),
        ideographic=maybe(words),
        phonetic=maybe(words),
    ),
)
codes = st.builds(
    Code,
    value=maybe(words),
    scheme=maybe(st.sampled_from(["SCT", "SRT", "DCM", "99X", "LN", ""])),
    scheme_uid=maybe(odd_uids),
    meaning=maybe(words),
)
identifiers = st.builds(
    Identifier,
    value=words,
    system=maybe(st.sampled_from(["urn:oid:1.2.3", "http://example.org", "no uri", "\n"])),
    assigner=maybe(words),
)
people = st.builds(Person, name=names, codes=st.lists(codes, max_size=2).map(tuple))
several_people = st.lists(people, max_size=3).map(lambda p: tuple(p * 2))
laterality = st.sampled_from([None, "L", "R", "B", "U", "l", "?"])
instances = st.builds(
    Instance,
    uid=accepted_uids,
    sop_class_uid=maybe(odd_uids),
    number=numbers,
    image_laterality=laterality,
    title=maybe(words),
    document_title=maybe(words),
    number_of_frames=numbers,
)
some_identifier = st.one_of(st.none(), identifiers)
orders = st.lists(
    st.builds(Order, accession=some_identifier, placer=some_identifier, filler=some_identifier),
    max_size=2,
).map(tuple)
all_series = st.builds(
    Series,
    uid=accepted_uids,
    archives=st.just(("north",)),
    modality=maybe(st.one_of(codes_in_words, words)),
    number=numbers,
    description=maybe(words),
    number_of_instances=numbers,
    date=dates,
    time=times,
    utc_offset=offsets,
    body_part=maybe(st.one_of(st.sampled_from(["KNEE", "c spine", " "]), words)),
    anatomic_region=st.one_of(st.none(), codes),
    laterality=laterality,
    performing_physicians=several_people,
    operators=several_people,
    manufacturer=maybe(words),
    manufacturer_model_name=maybe(words),
    device_serial_number=maybe(words),
    station_name=maybe(words),
    institution_name=maybe(words),
    department_name=maybe(words),
    department_type=st.one_of(st.none(), codes),
    specimens=st.lists(
        st.builds(Specimen, id=st.one_of(st.none(), identifiers), uid=maybe(uids)), max_size=2
    ).map(tuple),
    accessions=st.lists(identifiers, max_size=2).map(tuple),
    orders=orders,
    institution=st.one_of(st.none(), codes),
    performed_location=maybe(words),
    custodians=st.lists(
        st.builds(Organization, name=maybe(words), id=some_identifier), max_size=2
    ).map(tuple),
    reason_codes=st.lists(codes, max_size=2).map(tuple),
    reason_texts=st.lists(words, max_size=2).map(tuple),
    instances=st.one_of(
        st.none(), st.lists(instances, max_size=3, unique_by=lambda i: i.uid).map(tuple)
    ),
)
studies = st.builds(
    Study,
    uid=uids,
    archives=st.just(("north",)),
    patient=st.builds(Patient, id=st.one_of(st.none(), identifiers), name=names),
    study_id=maybe(words),
    accession=st.one_of(st.none(), identifiers),
    orders=orders,
    date=dates,
    time=times,
    utc_offset=offsets,
    description=maybe(words),
    modalities=st.lists(codes_in_words, max_size=3).map(tuple),
    referring_physician=st.one_of(st.none(), people),
    physicians_reading=several_people,
    procedure_codes=st.lists(codes, max_size=2).map(tuple),
    admission=st.one_of(st.none(), identifiers),
    availability=st.sampled_from([None, "ONLINE", "OFFLINE", "UNAVAILABLE"]),
    number_of_series=numbers,
    number_of_instances=numbers,
    series=st.one_of(
        st.none(), st.lists(all_series, max_size=3, unique_by=lambda s: s.uid).map(tuple)
    ),
)
