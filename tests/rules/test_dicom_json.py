from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.rules import dicom_json as dj
from tests.rules.rows import name, odd_rows, row

BASE = "https://images.example.org/dicom-web"
OWN = f"{BASE}/studies/1.2/series/1.2.1/instances/1.2.1.1"
ARCHIVE = "http://10.0.0.7:8042"
UIDS = row(STUDY_INSTANCE_UID="1.2", SERIES_INSTANCE_UID="1.2.1", SOP_INSTANCE_UID="1.2.1.1")
BULK = {"vr": "OW", "BulkDataURI": f"{ARCHIVE}/dicom-web/bulk/1"}


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008.1.1", "1.02.3", "9" * 64])
def test_digits_and_dots_are_a_uid(uid: str) -> None:
    assert dj.uid(uid, "study") == uid


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "1.", ".1", "1..2", "1.2\n", "../../system", "1.2%2f", "1.2/3", "1.2 ", "1.a",
        "9" * 65, "१.२", "1.2\0", "1.2?x", "1.2;x", "1.2\\3", "²",
    ],
)  # fmt: skip
def test_anything_else_is_refused_naming_the_parameter(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^study is not a DICOM UID$") as caught:
        dj.uid(text, "study")
    assert caught.value.parameter == "study"


@pytest.mark.parametrize(
    ("element", "values", "texts"),
    [
        pytest.param(None, [], [], id="absent"),
        pytest.param({"vr": "LO"}, [], [], id="no Value"),
        pytest.param({"vr": "LO", "Value": []}, [], [], id="empty Value"),
        pytest.param({"vr": "LO", "Value": None}, [], [], id="null Value"),
        pytest.param({"vr": "LO", "Value": [None, "", "a"]}, ["a"], ["a"], id="null and empty"),
        pytest.param({"vr": "LO", "Value": ["  ", "b"]}, ["  ", "b"], ["b"], id="blanks"),
        pytest.param({"vr": "UI", "Value": ["1.2\0"]}, ["1.2\0"], ["1.2"], id="NUL padding"),
        pytest.param({"vr": "IS", "Value": [0]}, [0], ["0"], id="a number"),
        pytest.param({"vr": "LO", "Value": [["x"], True]}, [["x"], True], [], id="no text at all"),
        pytest.param({"vr": "LO", "Value": "bare"}, [], [], id="no list"),
        pytest.param({"vr": "OB", "BulkDataURI": "x"}, [], [], id="bulk data"),
        pytest.param("odd", [], [], id="no element"),
    ],
)
def test_values_are_read_tolerantly(element: Any, values: list[Any], texts: list[str]) -> None:
    dataset = {} if element is None else {dj.STUDY_ID: element}
    assert dj.values(dataset, dj.STUDY_ID) == values
    assert dj.texts(dataset, dj.STUDY_ID) == texts
    assert dj.text(dataset, dj.STUDY_ID) == (texts[0] if texts else None)


def test_tags_in_lower_case_are_understood() -> None:
    dataset = {dj.SERIES_DESCRIPTION.lower(): {"vr": "LO", "Value": ["Thorax"]}}
    assert dj.text(dataset, dj.SERIES_DESCRIPTION) == "Thorax"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (name("Yamada^Tarou", Ideographic="山田^太郎"), "Yamada^Tarou=山田^太郎"),
        (name("Doe"), "Doe"),
        (name(None, Phonetic="やまだ"), "==やまだ"),
        ({}, ""),
    ],
)
def test_name_is_written_in_groups_as_dicom_does(value: dict[str, Any], text: str) -> None:
    assert dj.person_name_text(value) == text


@pytest.mark.parametrize(
    ("text", "frames"), [("1", (1,)), ("3,1,2", (3, 1, 2)), ("7,7", (7, 7)), ("10000", (10000,))]
)
def test_frames_keep_their_order(text: str, frames: tuple[int, ...]) -> None:
    assert dj.frame_numbers(text) == frames


@pytest.mark.parametrize("text", ["", "0", "01", "-1", "1,", ",1", "1,,2", "1-3", "a", "1,0", "१"])
def test_frames_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        dj.frame_numbers(text)
    assert caught.value.parameter == "frames"


def test_more_frames_than_anyone_needs_are_refused() -> None:
    with pytest.raises(BadRequest):
        dj.frame_numbers(",".join(["1"] * 10001))


@given(
    st.lists(st.integers(0, 2**32 - 1).map("{:08X}".format), min_size=1, max_size=30),
    st.lists(st.integers(0, 999999).map(str), min_size=29, max_size=29),
)
def test_attribute_path_comes_back_as_it_was_written(tags: list[str], items: list[str]) -> None:
    path = [tags[0]]
    for item, tag in zip(items, tags[1:], strict=False):
        path += [item, tag]
    assert dj.attribute_path("/".join(path)) == tuple(path)
    assert dj.attribute_path("/".join(path).lower()) == tuple(path)


@pytest.mark.parametrize(
    "text",
    ["", "7FE0001", "7FE00010/", "7FE00010/0", "/7FE00010", "00081115/x/00081150", "../00081115/0",
     "00081115/-1/00081150", "00081115/1234567/00081150", "/".join(["00081115", "0"] * 40)],
)  # fmt: skip
def test_what_is_no_attribute_path_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        dj.attribute_path(text)


def test_object_without_urls_stays_as_it_is_byte_for_byte() -> None:
    raw = b'{ "00100020":{"vr":"LO", "Value":["7"]} }'
    assert dj.with_own_urls(raw, BASE) is raw


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        pytest.param(
            {dj.PIXEL_DATA: BULK},
            {dj.PIXEL_DATA: {"vr": "OW", "BulkDataURI": f"{OWN}/bulkdata/7FE00010"}},
            id="pixel data",
        ),
        pytest.param(
            {"00880200": {"vr": "SQ", "Value": [{}, {dj.PIXEL_DATA: BULK}]}},
            {
                "00880200": {
                    "vr": "SQ",
                    "Value": [
                        {},
                        {
                            dj.PIXEL_DATA: {
                                "vr": "OW",
                                "BulkDataURI": f"{OWN}/bulkdata/00880200/1/7FE00010",
                            }
                        },
                    ],
                }
            },
            id="in an item",
        ),
        pytest.param(
            {"00880200": {"Value": [{dj.PIXEL_DATA: BULK}]}},
            {
                "00880200": {
                    "Value": [
                        {
                            dj.PIXEL_DATA: {
                                "vr": "OW",
                                "BulkDataURI": f"{OWN}/bulkdata/00880200/0/7FE00010",
                            }
                        },
                    ],
                }
            },
            id="in an item of a sequence without vr",
        ),
        pytest.param(
            row(RETRIEVE_URL=f"{ARCHIVE}/studies/1.2"), row(RETRIEVE_URL=OWN), id="RetrieveURL"
        ),
        pytest.param(
            {
                "00081115": {
                    "vr": "SQ",
                    "Value": [row(RETRIEVE_URL=ARCHIVE, RETRIEVE_URI=ARCHIVE, STUDY_ID="1")],
                },
                **row(PIXEL_DATA_PROVIDER_URL=ARCHIVE),
            },
            {"00081115": {"vr": "SQ", "Value": [row(STUDY_ID="1")]}},
            id="addresses of other objects",
        ),
    ],
)
def test_urls_of_the_archive_become_our_own(
    given_: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = orjson.loads(dj.with_own_urls(orjson.dumps(UIDS | given_), BASE))
    assert found == UIDS | expected


def test_url_hidden_behind_escapes_is_found() -> None:
    raw = json.dumps(UIDS | {dj.PIXEL_DATA: BULK}).replace("BulkDataURI", "\\u0042ulkDataURI")
    assert ARCHIVE.encode() not in dj.with_own_urls(raw.encode(), BASE)


@pytest.mark.parametrize("uid", [None, "../../system", ""])
def test_object_that_cannot_be_named_loses_its_bulk_data(uid: str | None) -> None:
    dataset = UIDS | row(SOP_INSTANCE_UID=uid) | {dj.PIXEL_DATA: BULK} | row(RETRIEVE_URL=ARCHIVE)
    found = orjson.loads(dj.with_own_urls(orjson.dumps(dataset), BASE))
    assert found == UIDS | row(SOP_INSTANCE_UID=uid) | {dj.PIXEL_DATA: {"vr": "OW"}}


_bulk = st.fixed_dictionaries(
    {"vr": st.sampled_from(["OB", "SQ", "UN"]), "BulkDataURI": st.just(f"{ARCHIVE}/x")}
)
_url = st.just({"vr": "UR", "Value": [ARCHIVE]})
_foreign = st.recursive(
    st.dictionaries(
        st.sampled_from(["7FE00010", "7fe00010", "00281201", "00091002"]), _bulk, max_size=2
    )
    | st.dictionaries(
        st.sampled_from([dj.RETRIEVE_URL, dj.RETRIEVE_URI, dj.RETRIEVE_URI.lower()]),
        _url,
        max_size=2,
    ),
    lambda item: st.dictionaries(
        st.sampled_from(["00081115", "0040A730"]),
        st.fixed_dictionaries({"vr": st.just("SQ"), "Value": st.lists(item, max_size=2)}),
        max_size=2,
    ),
    max_leaves=10,
)


@given(_foreign)
def test_no_foreign_url_is_left_at_any_depth(dataset: dict[str, Any]) -> None:
    found = dj.with_own_urls(orjson.dumps(UIDS | dataset), BASE)
    assert ARCHIVE.encode() not in found
    for uri in _bulk_data_uris(orjson.loads(found)):
        assert uri.startswith(f"{OWN}/bulkdata/")
        dj.attribute_path(uri.removeprefix(f"{OWN}/bulkdata/"))


def _bulk_data_uris(node: Any) -> list[str]:
    if isinstance(node, list):
        return [uri for item in node for uri in _bulk_data_uris(item)]
    if not isinstance(node, dict):
        return []
    here = [node["BulkDataURI"]] if "BulkDataURI" in node else []
    return here + [uri for value in node.values() for uri in _bulk_data_uris(value)]


@given(odd_rows)
def test_odd_objects_never_fail(dataset: dict[str, Any]) -> None:
    dj.without_foreign_urls(dataset, OWN)
    dj.without_foreign_urls(dataset, None)
    for tag in dataset:
        assert all(dj.texts(dataset, tag))
