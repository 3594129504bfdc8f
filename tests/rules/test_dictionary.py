"""The data dictionary is pydicom's, which is PS3.6's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import datadict
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

from gateway.rules import dictionary

EVERY = sorted(DicomDictionary)
REPEATING = [int(tag.replace("x", digit), 16) for tag in RepeatersDictionary for digit in "02E"]


@pytest.mark.parametrize("tags", [EVERY, REPEATING], ids=["single", "repeating"])
def test_that_each_attribute_reads_as_in_pydicom(tags: list[int]) -> None:
    assert [dictionary.vr(tag) for tag in tags] == [datadict.dictionary_VR(tag) for tag in tags]
    assert [dictionary.vm(tag) for tag in tags] == [datadict.dictionary_VM(tag) for tag in tags]
    found = [dictionary.keyword(tag) for tag in tags]
    assert found == [datadict.keyword_for_tag(tag) for tag in tags]


def test_that_each_keyword_has_its_tag() -> None:
    found = {name: dictionary.tag_of(name) for name in datadict.keyword_dict}
    assert found == datadict.keyword_dict
    assert dictionary.tag_of("NoSuchAttribute") is None


@given(st.integers(min_value=0, max_value=0xFFFFFFFF))
def test_that_any_tag_has_pydicoms_keyword(tag: int) -> None:
    assert dictionary.keyword(tag) == datadict.keyword_for_tag(tag)


@pytest.mark.parametrize("tag", [0x00091001, 0x60010010, 0x7FE10010, 0xFFFFFFFF])
def test_that_what_the_standard_does_not_know_is_a_key_error(tag: int) -> None:
    with pytest.raises(KeyError):
        dictionary.vr(tag)
