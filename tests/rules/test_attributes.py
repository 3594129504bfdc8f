from __future__ import annotations

import pytest
from pydicom.datadict import keyword_for_tag

from gateway.model import Level
from gateway.rules import attributes
from gateway.rules import dicom_json as dj

LEVELS = [Level.STUDY, Level.SERIES, Level.INSTANCE]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.value)
def test_no_row_has_attributes_of_a_level_below_it(level: Level) -> None:
    own = {*attributes.ATTRIBUTES[level], *attributes.DEFAULT_IF_KNOWN[level]}
    assert not own & attributes.BELOW[level]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.value)
def test_every_row_names_what_it_is_about(level: Level) -> None:
    assert attributes.UID_OF[level] in attributes.ATTRIBUTES[level]
    assert dj.RETRIEVE_URL in attributes.ATTRIBUTES[level]


def test_study_fields_are_of_the_study_level() -> None:
    assert not attributes.STUDY_FIELDS & attributes.BELOW[Level.STUDY]
    assert not attributes.SERIES_FIELDS & attributes.BELOW[Level.SERIES]


def test_all_tags_are_in_the_dictionary() -> None:
    tags = attributes.STUDY_FIELDS | attributes.SERIES_FIELDS | attributes.INSTANCE_FIELDS
    tags |= attributes.SERIES_LEVEL | attributes.INSTANCE_LEVEL | attributes.PER_ARCHIVE
    assert [tag for tag in tags if not keyword_for_tag(int(tag, 16))] == []
