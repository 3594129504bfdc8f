from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import matching, qido, qido_upstream
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Key, Query
from tests.rules.rows import name, row
from tests.rules.test_qido import keys, parse, query


def test_several_modalities_are_loosened_for_studies_spread_over_archives() -> None:
    several = parse("multiplevaluematching=true&ModalitiesInStudy=CT%5CPT&PatientID=7")
    loosened = qido_upstream.loosened(several)
    assert loosened is not None
    assert keys(loosened) == {dj.PATIENT_ID: "7", dj.MODALITIES_IN_STUDY: "CT\\PT"}
    assert len(qido_upstream.upstream(loosened)) == 2
    assert qido_upstream.loosened(parse("ModalitiesInStudy=CT&PatientID=7")) is None
    assert qido_upstream.loosened(dataclasses.replace(several, level=Level.SERIES)) is None


def test_what_has_no_value_is_not_asked_for() -> None:
    given_ = parse("PatientSex=%22%22&emptyvaluematching=true&StudyID=1")
    [sent] = qido_upstream.upstream(given_)
    assert keys(sent) == {dj.STUDY_ID: "1"}
    assert dj.PATIENT_SEX in (sent.include or ())


def asked(*variants: Query) -> list[dict[str, str]]:
    return [keys(v) for v in variants]


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        pytest.param(query(), [{}], id="nothing"),
        pytest.param(query((dj.PATIENT_ID, "7")), [{dj.PATIENT_ID: "7"}], id="as it is"),
        pytest.param(query((dj.PATIENT_ID, "A,B\\C")), [{dj.PATIENT_ID: "A?B?C"}], id="no list"),
        pytest.param(
            query((dj.STUDY_INSTANCE_UID, "1.2,1.3")),
            [{dj.STUDY_INSTANCE_UID: "1.2,1.3"}],
            id="UIDs stay a list",
        ),
        pytest.param(
            query((dj.MODALITIES_IN_STUDY, "CT\\MR")),
            [{dj.MODALITIES_IN_STUDY: "CT"}, {dj.MODALITIES_IN_STUDY: "MR"}],
            id="codes are asked for one by one",
        ),
        pytest.param(
            query((dj.PATIENT_NAME, "Yamada^Tarou")), [{dj.PATIENT_NAME: "Yamada^Tarou*"}], id="PN"
        ),
        pytest.param(query((dj.PATIENT_NAME, "山田")), [{dj.PATIENT_NAME: "*山田*"}], id="kanji"),
        pytest.param(
            query((dj.PATIENT_NAME, "Doe^^=")), [{dj.PATIENT_NAME: "Doe*"}], id="trailing"
        ),
        pytest.param(
            query((dj.PATIENT_NAME, "Müller Anna"), fuzzy=True),
            [{dj.PATIENT_NAME: "*m*ll*r*"}],
            id="fuzzy: the telling word, open where accents may be",
        ),
        pytest.param(
            query((dj.PATIENT_NAME, "Núñez"), fuzzy=True),
            [{dj.PATIENT_NAME: "*n*z*"}],
            id="fuzzy: letters that are often accented, but all there is",
        ),
        pytest.param(
            query((dj.PATIENT_NAME, "Ai"), fuzzy=True), [{dj.PATIENT_NAME: "*ai*"}], id="vowels"
        ),
        pytest.param(query((dj.PATIENT_NAME, "山田"), fuzzy=True), [{}], id="fuzzy kanji"),
        pytest.param(
            query((dj.MODALITIES_IN_STUDY, ",".join(f"M{n}" for n in range(17)))),
            [{}],
            id="too many codes to ask for one by one",
        ),
    ],
)
def test_archives_are_asked_in_words_any_of_them_knows(
    given_: Query, expected: list[dict[str, str]]
) -> None:
    variants = qido_upstream.upstream(given_)
    assert asked(*variants) == expected
    assert not any(v.fuzzy for v in variants)


def test_archive_that_does_not_decode_gets_no_character_that_needs_it() -> None:
    given_ = query(
        (dj.PATIENT_NAME, "Müller^A"), (dj.PATIENT_ID, "山"), (dj.STUDY_DATE, "20240101-")
    )
    (variant,) = qido_upstream.upstream(given_, decodes=False)
    assert keys(variant) == {dj.PATIENT_NAME: "*M*ller?A*", dj.STUDY_DATE: "20240101-"}


def test_parameters_are_canonical() -> None:
    given_ = parse("0020000D=1.2%5C1.3&PatientID=7&includefield=00081030&fuzzymatching=true")
    assert qido_upstream.parameters(given_) == [
        ("StudyInstanceUID", "1.2,1.3"),
        ("PatientID", "7"),
        ("includefield", "00081030,00100020,0020000D"),
        ("fuzzymatching", "true"),
    ]
    assert qido_upstream.parameters(parse("includefield=all")) == [("includefield", "all")]
    path = parse("RequestAttributesSequence.AccessionNumber=1", Level.SERIES)
    assert qido_upstream.parameters(path)[0] == ("RequestAttributesSequence.AccessionNumber", "1")


_VALUES = {
    dj.PATIENT_ID: st.text("Ab1,\\ü *?", min_size=1, max_size=6),
    dj.STUDY_DESCRIPTION: st.text("Ab1,\\ü *?", min_size=1, max_size=6),
    dj.MODALITIES_IN_STUDY: st.text("CTMR,\\*?", min_size=1, max_size=6),
    dj.STUDY_INSTANCE_UID: st.sampled_from(["1.2", "1.3", "1.2,1.3"]),
    dj.PATIENT_NAME: st.text("Deéüfg^ *?", min_size=1, max_size=8)
    | st.text("山田た=^*", min_size=1, max_size=4),
}
_ROWS = st.fixed_dictionaries(
    {
        dj.PATIENT_ID: st.text("Ab1,\\ü ", min_size=1, max_size=6),
        dj.STUDY_DESCRIPTION: st.text("aB1,\\ü ", min_size=1, max_size=6),
        dj.MODALITIES_IN_STUDY: st.lists(st.sampled_from(["CT", "MR", "C"]), max_size=2),
        dj.STUDY_INSTANCE_UID: st.sampled_from(["1.2", "1.3"]),
        dj.PATIENT_NAME: st.builds(
            lambda a, i: name(a, Ideographic=i),
            st.text("DeEéÉüfg^ ", min_size=1, max_size=8).filter(lambda t: t.strip("^ ") != ""),
            st.none() | st.text("山田た^", min_size=1, max_size=4),
        ),
    }
)


@st.composite
def _searches(draw: st.DrawFn) -> Query:
    tags = draw(st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=3, unique=True))
    pairs = [(tag, draw(_VALUES[tag])) for tag in tags]
    is_fuzzy = draw(st.booleans())
    assume(
        not is_fuzzy
        or not re.search(r"[A-Za-z]", asked := dict(pairs).get(dj.PATIENT_NAME, ""))
        or re.search("[Dfg]", asked)
    )  # of vowels alone an archive finds what it finds
    if draw(st.booleans()):
        pairs.append((dj.MODALITIES_IN_STUDY, "CT"))
    keys = [qido.key(t, v.strip()) for t, v in pairs if v.strip(" *")]
    if draw(st.booleans()):
        keys.append(Key(tag=dj.STUDY_ID, vr="SH", value='""', is_empty=True))
    return Query(level=Level.STUDY, keys=tuple(keys), fuzzy=is_fuzzy)


@pytest.mark.parametrize("decodes", [True, False])
@given(search=_searches(), values=_ROWS)
def test_what_archives_are_asked_finds_every_row_that_matches(
    search: Query, values: dict[str, object], *, decodes: bool
) -> None:
    dataset: Dataset = {}
    for tag, value in values.items():
        dataset |= {tag: {"vr": "", "Value": value if isinstance(value, list) else [value]}}
    if matching.matches(search, dataset):
        variants = qido_upstream.upstream(search, decodes=decodes)
        assert any(matching.matches(v, dataset) for v in variants)


def test_rows_of_the_test_match_now_and_then() -> None:
    assert matching.matches(query((dj.PATIENT_ID, "A?")), row(PATIENT_ID="Ab"))
