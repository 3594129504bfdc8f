from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import dicom_xml
from tests.native_dicom import parsed

GOLDEN = Path(__file__).parent / "golden" / "native_dicom_model.xml"
"""What DCMTK's dcm2xml writes of `KNOWN`, its references to binary values taken out."""
KNOWN: dict[str, Any] = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
    "00081032": {
        "vr": "SQ",
        "Value": [{"00080100": {"vr": "SH", "Value": ["1"]}}, {}],
    },
    "00100010": {
        "vr": "PN",
        "Value": [{"Alphabetic": "Müller^Anna^^Dr", "Ideographic": "山田^花子"}],
    },
    "00100040": {"vr": "CS"},
    "00204000": {"vr": "LT", "Value": ["a & b < c\r\nline"]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00280010": {"vr": "US", "Value": [512]},
    "00281050": {"vr": "DS", "Value": [40.0, 80.5]},
    "00290010": {"vr": "LO", "Value": ["ACME 1.1"]},
    "00291001": {"vr": "SH", "Value": ["x"]},
}


def xml(dataset: dict[str, Any]) -> str:
    return "".join(dicom_xml.document(dataset))


def attribute(tag: str, element: dict[str, Any]) -> str:
    """The DicomAttribute of the only element of a data set."""
    written = xml({tag: element})
    return written.partition('xml:space="preserve">')[2].removesuffix("</NativeDicomModel>")


def test_another_implementation_writes_the_same() -> None:
    theirs = "".join(GOLDEN.read_text(encoding="utf-8").splitlines())
    assert parsed(xml(KNOWN)) == parsed(theirs) == KNOWN


@pytest.mark.parametrize(
    ("tag", "element", "expected"),
    [
        ("00100040", {"vr": "CS"}, '<DicomAttribute tag="00100040" vr="CS" keyword="PatientSex">'),
        ("0020000d", {"vr": "UI", "Value": ["1.2"]}, 'tag="0020000D"'),
        ("60020010", {"vr": "US", "Value": [1]}, 'keyword="OverlayRows"'),
        ("00100020", {"Value": ["A"]}, 'vr="LO"'),
        ("00091001", {"Value": ["A"]}, 'vr="UN"'),
        ("00100020", {"vr": "lo<", "Value": ["A"]}, 'vr="LO"'),
        ("7FE00010", {"vr": "OW", "BulkDataURI": "a?b&c=\"d\""}, "uri=\"a?b&amp;c=&quot;d&quot;\""),
        ("00420011", {"vr": "OB", "InlineBinary": "AAE="}, "<InlineBinary>AAE=</InlineBinary>"),
        ("00204000", {"vr": "LT", "Value": ["a\x0c\x00\x1bb"]}, ">a\ufffd\ufffd\ufffdb<"),
        ("00204000", {"vr": "LT", "Value": ["\ud800\uffff"]}, ">\ufffd\ufffd<"),
        ("00204000", {"vr": "LT", "Value": ["]]>"]}, ">]]&gt;<"),
        ("00200013", {"vr": "IS", "Value": [None, 2]}, '"1"></Value><Value number="2">2</Value>'),
        ("00281050", {"vr": "DS", "Value": ["1.50"]}, ">1.50<"),
        ("00186020", {"vr": "FD", "Value": ["NaN", 1e22]}, "NaN</Value><Value number=\"2\">1e+22<"),
        ("00100010", {"vr": "PN", "Value": ["A^B=C"]}, "<GivenName>B</GivenName></Alphabetic><Id"),
        ("00100010", {"vr": "PN", "Value": [{"Alphabetic": "A^B^C^D^E^F"}]}, "E^F</NameSuffix>"),
        ("00100010", {"vr": "PN", "Value": ["^^^=A"]}, '"1"><Ideographic><FamilyName>A<'),
        ("00100010", {"vr": "PN", "Value": [None, 7]}, '<PersonName number="2"></PersonName>'),
        ("00400275", {"vr": "SQ", "Value": [None]}, '<Item number="1"></Item>'),
        ("00100020", {"vr": "LO", "Value": [True, {}, []]}, '<Value number="3"></Value>'),
        ("00100020", {"vr": "LO", "Value": "no list"}, 'keyword="PatientID"></DicomAttribute>'),
    ],
)  # fmt: skip
def test_elements_are_written_as_the_model_says(
    tag: str, element: dict[str, Any], expected: str
) -> None:
    assert expected in attribute(tag, element)
    parsed(xml({tag: element}))


def test_private_attributes_are_named_by_their_creator() -> None:
    creator = {"vr": "LO", "Value": ["ACME <1>\t"]}
    dataset = {
        "00290011": creator,
        "00291101": {"vr": "SH", "Value": ["x"]},
        "00291201": {"vr": "SH", "Value": ["nobody reserved its block"]},
    }
    written = xml(dataset)
    assert '<DicomAttribute tag="00290011" vr="LO">' in written
    assert '<DicomAttribute tag="00290001" vr="SH" privateCreator="ACME &lt;1&gt;">' in written
    assert '<DicomAttribute tag="00291201" vr="SH">' in written
    assert list(parsed(written)) == list(dataset)


def test_what_is_no_element_is_left_out() -> None:
    odd: dict[str, Any] = {"00100000": {"vr": "UL", "Value": [4]}, "x": {"vr": "LO"}, "00100020": 1}
    assert parsed(xml(odd)) == {}


def test_a_long_document_comes_in_pieces() -> None:
    row = {"00080100": {"vr": "SH", "Value": ["x" * 100]}}
    pieces = list(dicom_xml.document({"00400275": {"vr": "SQ", "Value": [row] * 1000}}))
    assert max(len(p) for p in pieces) < 1000


_legible = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1
) | st.sampled_from(["a\tb", "a\r\nb", "\r", "]]>", "<!--", "&amp;", '"', "'", " "])
_words = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="^=\ufffe\uffff")
)
_group = st.lists(_words, min_size=1, max_size=5).map(lambda parts: "^".join(parts).rstrip("^"))
_names = st.dictionaries(
    st.sampled_from(["Alphabetic", "Ideographic", "Phonetic"]), _group.filter(bool), min_size=1
)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_long = st.integers(-(2**53), 2**53)


def _of(vr: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(st.none() | values, max_size=4).map(lambda v: {"Value": v} if v else {})
    return several.map(lambda made: {"vr": vr} | made)


_texts = ["AE", "AS", "AT", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
_binary = st.sampled_from(["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
_elements = st.one_of(
    *(_of(vr, _legible) for vr in _texts),
    *(_of(vr, _long) for vr in ["IS", "SL", "SS", "SV", "UL", "US", "UV"]),
    *(_of(vr, _floats) for vr in ["DS", "FD", "FL"]),
    _of("PN", _names),
    st.builds(lambda vr, uri: {"vr": vr, "BulkDataURI": uri}, _binary, _legible),
    st.builds(lambda vr, data: {"vr": vr, "InlineBinary": data}, _binary, st.just("AAECAw==")),
)
_tags = st.integers(0x0008, 0x7FFE).flatmap(
    lambda group: st.integers(0x1000, 0xFFFF).map(lambda one: f"{group & ~1:04X}{one:04X}")
)
_private = st.sampled_from(["00111001", "00111002", "001111FF"])
_CREATORS = {
    "00110010": {"vr": "LO", "Value": ["ACME"]},
    "00110011": {"vr": "LO", "Value": ["Other & Co"]},
}
_plain = st.dictionaries(_tags | _private, _elements, max_size=6).map(
    lambda found: _CREATORS | found
)
_datasets = st.recursive(
    _plain,
    lambda items: st.builds(
        lambda plain, tag, nested: plain | {tag: {"vr": "SQ", "Value": nested}},
        _plain,
        _tags,
        st.lists(items, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@given(_datasets)
def test_every_data_set_comes_back_as_it_was(dataset: dict[str, Any]) -> None:
    assert parsed(xml(dataset).encode()) == dataset
