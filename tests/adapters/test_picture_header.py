"""Attributes are read once, and only when they are asked for."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from gateway.adapters.picture_header import Header, photometric


def dataset() -> Dataset:
    made = Dataset()
    made.Rows, made.Columns = 3, None
    return made


def test_each_attribute_is_read_once() -> None:
    asked: list[str] = []

    def read(keyword: str) -> int:
        asked.append(keyword)
        return len(asked)

    header = Header(read, dataset)
    assert [header.get("Rows"), header.get("Columns"), header.get("Rows")] == [1, 2, 1]
    assert asked == ["Rows", "Columns"]


def test_what_is_empty_or_absent_has_its_default() -> None:
    header = Header.of(dataset())
    assert (header.get("Rows", 7), header.get("Columns", 7), header.get("BitsStored", 7)) == (
        3,
        7,
        7,
    )
    assert header.get("BitsStored") is None


@pytest.mark.parametrize("written", ["ybr_full_422", " YBR_FULL_422 ", "YBR_FULL_422\0"])
def test_photometric_interpretation_is_the_defined_term(written: str) -> None:
    assert photometric(Header.of(dataset()).changed(PhotometricInterpretation=written)) == (
        "YBR_FULL_422"
    )
    assert photometric(dataset()) == ""


def test_changed_header_leaves_the_other_as_it_was() -> None:
    header = Header.of(dataset())
    assert header.changed(Rows=9).get("Rows") == 9
    assert header.get("Rows") == header.changed(Columns=1).get("Rows") == 3
