"""Values of somebody else's resources, of whatever type they are."""

from __future__ import annotations

import pytest

from gateway.rules import dicom_json as dj
from gateway.rules import foreign_values

CT = {"code": "CT"}


@pytest.mark.parametrize(
    "value", [CT, [CT], {"coding": [CT]}, [{"coding": CT}], {"concept": {"coding": [CT]}}]
)
def test_a_code_is_found_in_whatever_carries_it(value: object) -> None:
    assert foreign_values.first_code(value) == "CT"


@pytest.mark.parametrize("value", [None, "CT", 7, [], {}, {"coding": "CT"}, {"concept": 1}])
def test_what_carries_no_code_has_none(value: object) -> None:
    assert foreign_values.first_code(value) is None


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("1.2.3", "1.2.3"), (" urn:oid:1.2.3 ", "1.2.3"), ("urn:uuid:1", None), (1.2, None)],
)
def test_a_uid_is_bare(value: object, wanted: str | None) -> None:
    assert foreign_values.uid(value) == wanted


@pytest.mark.parametrize(
    ("system", "kind", "entity"),
    [
        ("urn:oid:1.2", "ISO", "1.2"),
        (
            "urn:uuid:11111111-1111-1111-1111-111111111111",
            "UUID",
            "1" * 8 + "-1111" * 3 + "-" + "1" * 12,
        ),
        ("https://a.example/ids", "URI", "https://a.example/ids"),
    ],
)
def test_an_issuer_is_told_by_the_kind_of_its_system(system: str, kind: str, entity: str) -> None:
    item = foreign_values.issuer(system) or {}
    assert dj.text(item, dj.UNIVERSAL_ENTITY_ID_TYPE) == kind
    assert dj.text(item, dj.UNIVERSAL_ENTITY_ID) == entity
    assert foreign_values.issuer(" ") is None


def test_truth_is_no_number() -> None:
    assert foreign_values.whole(3) == 3
    assert foreign_values.whole(True) is None
    assert foreign_values.whole("3") is None
