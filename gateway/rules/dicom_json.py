"""DICOM JSON (PS3.18 Annex F): the table of tags, values out of a dataset, our own URLs in it."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson

from gateway.errors import BadRequest

Dataset = dict[str, Any]
"""One DICOM JSON object: `{"0020000D": {"vr": "UI", "Value": [...]}, ...}`."""

SPECIFIC_CHARACTER_SET = "00080005"
SOP_CLASS_UID = "00080016"
SOP_INSTANCE_UID = "00080018"
STUDY_DATE = "00080020"
SERIES_DATE = "00080021"
ACQUISITION_DATE = "00080022"
ACQUISITION_DATE_TIME = "0008002A"
STUDY_TIME = "00080030"
SERIES_TIME = "00080031"
ACQUISITION_TIME = "00080032"
ACCESSION_NUMBER = "00080050"
ISSUER_OF_ACCESSION_NUMBER = "00080051"
INSTANCE_AVAILABILITY = "00080056"
MODALITY = "00080060"
MODALITIES_IN_STUDY = "00080061"
SOP_CLASSES_IN_STUDY = "00080062"
MANUFACTURER = "00080070"
INSTITUTION_NAME = "00080080"
INSTITUTION_CODE_SEQUENCE = "00080082"
REFERRING_PHYSICIAN_NAME = "00080090"
REFERRING_PHYSICIAN_IDENTIFICATION = "00080096"
CODE_VALUE = "00080100"
CODING_SCHEME_DESIGNATOR = "00080102"
CODE_MEANING = "00080104"
CODING_SCHEME_UID = "0008010C"
LONG_CODE_VALUE = "00080119"
URN_CODE_VALUE = "00080120"
TIMEZONE_OFFSET = "00080201"
STATION_NAME = "00081010"
STUDY_DESCRIPTION = "00081030"
PROCEDURE_CODE_SEQUENCE = "00081032"
SERIES_DESCRIPTION = "0008103E"
SERIES_DESCRIPTION_CODE_SEQUENCE = "0008103F"
DEPARTMENT_NAME = "00081040"
DEPARTMENT_TYPE_SEQUENCE = "00081041"
PERFORMING_PHYSICIAN_NAME = "00081050"
PERFORMING_PHYSICIAN_IDENTIFICATION = "00081052"
PHYSICIANS_READING_NAME = "00081060"
PHYSICIANS_READING_IDENTIFICATION = "00081062"
OPERATORS_NAME = "00081070"
OPERATOR_IDENTIFICATION = "00081072"
MANUFACTURER_MODEL_NAME = "00081090"
REFERENCED_SERIES_SEQUENCE = "00081115"
REFERENCED_SOP_CLASS_UID = "00081150"
REFERENCED_SOP_INSTANCE_UID = "00081155"
REFERENCED_FRAME_NUMBER = "00081160"
RETRIEVE_URL = "00081190"
REFERENCED_SOP_SEQUENCE = "00081199"
ANATOMIC_REGION_SEQUENCE = "00082218"
PATIENT_NAME = "00100010"
PATIENT_ID = "00100020"
ISSUER_OF_PATIENT_ID = "00100021"
ISSUER_OF_PATIENT_ID_QUALIFIERS = "00100024"
PATIENT_BIRTH_DATE = "00100030"
PATIENT_SEX = "00100040"
BODY_PART_EXAMINED = "00180015"
DEVICE_SERIAL_NUMBER = "00181000"
STUDY_INSTANCE_UID = "0020000D"
SERIES_INSTANCE_UID = "0020000E"
STUDY_ID = "00200010"
SERIES_NUMBER = "00200011"
INSTANCE_NUMBER = "00200013"
LATERALITY = "00200060"
IMAGE_LATERALITY = "00200062"
IMAGE_TYPE = "00080008"
FRAME_ANATOMY_SEQUENCE = "00209071"
FRAME_LATERALITY = "00209072"
NUMBER_OF_STUDY_RELATED_SERIES = "00201206"
NUMBER_OF_STUDY_RELATED_INSTANCES = "00201208"
NUMBER_OF_SERIES_RELATED_INSTANCES = "00201209"
NUMBER_OF_FRAMES = "00280008"
ROWS = "00280010"
COLUMNS = "00280011"
PIXEL_SPACING = "00280030"
PIXEL_ASPECT_RATIO = "00280034"
BITS_ALLOCATED = "00280100"
PIXEL_DATA_PROVIDER_URL = "00287FE0"
ADMISSION_ID = "00380010"
ISSUER_OF_ADMISSION_ID = "00380014"
ORDER_PLACER_ISSUER = "00400026"
ORDER_FILLER_ISSUER = "00400027"
UNIVERSAL_ENTITY_ID = "00400032"
UNIVERSAL_ENTITY_ID_TYPE = "00400033"
LOCAL_NAMESPACE_ENTITY_ID = "00400031"
PERFORMED_LOCATION = "00400243"
PERFORMED_START_DATE = "00400244"
PERFORMED_START_TIME = "00400245"
REQUEST_ATTRIBUTES_SEQUENCE = "00400275"
SPECIMEN_IDENTIFIER = "00400551"
SPECIMEN_UID = "00400554"
SPECIMEN_DESCRIPTION_SEQUENCE = "00400560"
ISSUER_OF_SPECIMEN_IDENTIFIER = "00400562"
REASON_FOR_REQUESTED_PROCEDURE = "00401002"
REASON_CODE_SEQUENCE = "0040100A"
PERSON_IDENTIFICATION_CODES = "00401101"
PLACER_ORDER_NUMBER = "00402016"
FILLER_ORDER_NUMBER = "00402017"
CONCEPT_NAME_CODE_SEQUENCE = "0040A043"
REFERENCED_REQUEST_SEQUENCE = "0040A370"
EVIDENCE_SEQUENCE = "0040A375"
CONTENT_SEQUENCE = "0040A730"
RETRIEVE_URI = "0040E010"
DOCUMENT_TITLE = "00420010"
CONTENT_LABEL = "00700080"
CONTENT_DESCRIPTION = "00700081"
SHARED_FUNCTIONAL_GROUPS = "52009229"
PER_FRAME_FUNCTIONAL_GROUPS = "52009230"
PIXEL_DATA = "7FE00010"

_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_MAX_UID_CHARACTERS = 64
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_ITEM = re.compile(r"\d{1,6}", re.ASCII)
_MAX_DEPTH = 64
_FRAMES = re.compile(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", re.ASCII)
_MAX_FRAMES = 10000
_URL_TAGS = frozenset({RETRIEVE_URL, RETRIEVE_URI, PIXEL_DATA_PROVIDER_URL})
_MAY_HOLD_URLS = (
    b"BulkDataURI",
    b"\\u00",  # a letter of it written as an escape
    *(written.encode() for tag in sorted(_URL_TAGS) for written in {tag, tag.lower()}),
)


def is_uid(text: str) -> bool:
    """Whether `text` may stand in a URL as a UID: digits and dots, at most 64 characters.

    Leading zeros (not legal by PS3.5 §9.1) are let through: real objects have them.
    """
    return len(text) <= _MAX_UID_CHARACTERS and _UID.fullmatch(text) is not None


def uid(text: str, parameter: str) -> str:
    """`text`, checked to be a UID; BadRequest naming `parameter`. The place for every surface."""
    if not is_uid(text):
        raise BadRequest(f"{parameter} is not a DICOM UID", parameter=parameter)
    return text


def all_values(dataset: Dataset, tag: str) -> list[Any]:
    """The values of an attribute by position, nulls included; [] when it is absent or odd."""
    element = dataset.get(tag)
    if element is None and (tag.isdigit() or (element := dataset.get(tag.lower())) is None):
        return []
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def values(dataset: Dataset, tag: str) -> list[Any]:
    """The values of an attribute without nulls and empty strings; [] when it is absent or odd."""
    found = all_values(dataset, tag)
    return [v for v in found if v is not None and v != ""] if found else []


def texts(dataset: Dataset, tag: str) -> list[str]:
    """The values as trimmed texts, empty ones left out. A PN gives its groups as DICOM writes."""
    found = all_values(dataset, tag)
    return [plain for v in found if v is not None and (plain := _trimmed(v))] if found else []


def text(dataset: Dataset, tag: str) -> str | None:
    """The first value as trimmed text; None when there is none."""
    if tag not in dataset and tag.isdigit():
        return None  # most are absent: this is where searches spend time
    for value in all_values(dataset, tag):
        if plain := _trimmed(value):
            return plain
    return None


def _trimmed(value: Any) -> str:
    if type(value) is str:
        return value.strip("\0 \t\r\n")
    if isinstance(value, dict):
        value = person_name_text(value)
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value).strip("\0 \t\r\n") if is_plain else ""


def person_name_text(value: dict[str, Any]) -> str:
    """A PN item's groups as DICOM writes them: `alphabetic=ideographic=phonetic`."""
    groups = [value.get(k) for k in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(g if isinstance(g, str) else "" for g in groups).rstrip("=")


def frame_numbers(text: str) -> tuple[int, ...]:
    """A list of frames (PS3.18 §10.4.1.1.6), 1-based, in the order given; BadRequest otherwise."""
    if not _FRAMES.fullmatch(text) or text.count(",") >= _MAX_FRAMES:
        raise BadRequest(
            f"frames must be at most {_MAX_FRAMES} numbers from 1 on, separated by commas",
            parameter="frames",
        )
    return tuple(int(number) for number in text.split(","))


def attribute_path(text: str) -> tuple[str, ...]:
    """`tag[/item/tag…]` of a bulk data URL; BadRequest when it is not one. Items count from 0."""
    steps = tuple(text.split("/"))
    is_path = len(steps) % 2 == 1 and len(steps) < _MAX_DEPTH
    if not is_path or any(
        not (_TAG if at % 2 == 0 else _ITEM).fullmatch(step) for at, step in enumerate(steps)
    ):
        raise BadRequest("not the path of an attribute", parameter="bulkdata")
    return tuple(s.upper() for s in steps)


def with_own_urls(raw: bytes, base: str) -> bytes:
    """A metadata object whose URLs, whatever they were, lead to the gateway at `base`.

    Bulk data is named by the path of its attribute, so nothing of the archive's address is left.
    The character set is that of JSON, whatever that of the stored object was.
    """
    is_marked = SPECIFIC_CHARACTER_SET.encode() not in raw or b"ISO_IR 192" in raw
    if is_marked and not any(word in raw for word in _MAY_HOLD_URLS):
        return raw
    dataset: Dataset = orjson.loads(raw)
    uids = [text(dataset, t) for t in (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)]
    study, series, instance = (u if u and is_uid(u) else None for u in uids)
    own = None
    if study and series and instance:
        own = f"{base}/studies/{study}/series/{series}/instances/{instance}"
    whole = without_foreign_urls(dataset, own)
    if SPECIFIC_CHARACTER_SET in dataset:
        whole[SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    if own and RETRIEVE_URL in dataset:
        whole[RETRIEVE_URL] = {"vr": "UR", "Value": [own]}
    return orjson.dumps(whole)


class _Named(msgspec.Struct):
    values: tuple[Any, ...] = msgspec.field(default=(), name="Value")


class _Instance(msgspec.Struct):
    uid: _Named = msgspec.field(default_factory=_Named, name=SOP_INSTANCE_UID)


_instance = msgspec.json.Decoder(_Instance).decode


def instance_uid(raw: bytes) -> str | None:
    """The SOP Instance UID of a metadata object; None when it tells none as it should."""
    try:
        found = _instance(raw).uid.values
    except (ValueError, RecursionError):
        return None
    return _trimmed(found[0]) if found else None


def without_foreign_urls(dataset: Dataset, own: str | None) -> Dataset:
    """`dataset` without the URLs of an archive: RetrieveURL and the like are left out.

    Bulk data is found below `own`, the instance's own URL; None: it has none, and loses them too.
    """
    return _without_urls(dataset, f"{own}/bulkdata" if own else None)


def _without_urls(dataset: Dataset, base: str | None) -> Dataset:
    return {
        tag: _own_element(tag, element, base) if isinstance(element, dict) else element
        for tag, element in dataset.items()
        if tag.upper() not in _URL_TAGS
    }


def _own_element(tag: str, element: dict[str, Any], base: str | None) -> dict[str, Any]:
    """An element whose bulk data, and that of the items in it, is found below `base`."""
    items = element.get("Value")
    has_items = isinstance(items, list) and any(isinstance(i, dict) for i in items)
    if not has_items and "BulkDataURI" not in element:
        return element
    path = f"{base}/{tag.upper()}" if base else None
    own = {k: v for k, v in element.items() if k != "BulkDataURI"}
    if path and "BulkDataURI" in element:
        own["BulkDataURI"] = path
    if isinstance(items, list):
        own["Value"] = [
            _without_urls(item, f"{path}/{number}" if path else None)
            if isinstance(item, dict)
            else item
            for number, item in enumerate(items)
        ]
    return own
