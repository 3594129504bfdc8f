"""The words of the gateway as typed records. They do nothing; absent is None, never "" or 0.

Dates are FHIR dates (`YYYY-MM-DD`), times `HH:MM:SS[.ffffff]`, offsets `+HH:MM`: DICOM's own
forms end in `rules.records`, where every record is made.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Level(enum.Enum):
    """The levels of the DICOM information model, and the frames below them."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"
    FRAME = "frame"


class ConnectionType(enum.Enum):
    """The codes of endpoint-connection-type that can be resolved for reading."""

    WADO_RS = "dicom-wado-rs"
    WADO_URI = "dicom-wado-uri"
    QIDO_RS = "dicom-qido-rs"
    IID = "ihe-iid"


class Rung(enum.Enum):
    """How an archive gives a picture of its own, the way that costs it least first."""

    THUMBNAIL = "thumbnail"
    RENDERED = "rendered"
    WADO_URI = "wado-uri"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request names: a study, or a series, an instance or frames (1-based) in it."""

    study_uid: str
    series_uid: str | None = None
    instance_uid: str | None = None
    frames: tuple[int, ...] = ()

    @property
    def level(self) -> Level:
        """The deepest level that is named."""
        if self.series_uid is None:
            return Level.STUDY
        if self.instance_uid is None:
            return Level.SERIES
        return Level.FRAME if self.frames else Level.INSTANCE

    @property
    def instance(self) -> Target:
        """The instance that named frames are in; else the same."""
        if not self.frames:
            return self
        return Target(
            study_uid=self.study_uid, series_uid=self.series_uid, instance_uid=self.instance_uid
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """An identifier with the system it is unique in; `assigner` is an issuer without a system."""

    value: str
    system: str | None = None
    assigner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one rule of a policy describes: everything that is given must fit, one value of each.

    `sop_classes` and `series_descriptions` may hold `*` and `?`. A patient without a system is
    meant in any. Dates are inclusive FHIR dates of the study. `rejections`: titles (DCM codes) of
    rejection notes that refer to the instance; None among them: no note does.
    """

    name: str
    modalities: tuple[str, ...] = ()
    sop_classes: tuple[str, ...] = ()
    series_descriptions: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    patients: tuple[Identifier, ...] = ()
    study_date_from: str | None = None
    study_date_to: str | None = None
    rejections: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What exists for whom it is given: what no rule hides and, if any allows, one of them allows.

    `denies_partial`: a study of which something is hidden is not retrieved whole, rather than
    without what is hidden.
    """

    name: str
    hide: tuple[Rule, ...] = ()
    allow: tuple[Rule, ...] = ()
    denies_partial: bool = False


class Action(enum.Enum):
    """What a SMART scope lets do with a resource type (SMART App Launch 2.2, §Scopes)."""

    CREATE = "c"
    READ = "r"
    UPDATE = "u"
    DELETE = "d"
    SEARCH = "s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A SMART scope: whose resources (`patient`, `user`, `system`), of which type, what to do."""

    context: str
    resource: str
    actions: frozenset[Action]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Who asks; `user` is the subject for whom a client asks. `policy` None: no rules.

    `patients`: the identifiers of the one patient whose studies exist for the caller, () where
    that patient is not known here; None: not bound to a patient. `patient`: that one's FHIR id.
    `scopes` None: no scopes were given and all that the policy shows may be read and searched.
    `issuer`: whose token named the client; None: no token did. Two issuers' clients of one name
    are two, and neither is the API key of that name.
    """

    id: str
    issuer: str | None = None
    user: str | None = None
    policy: Policy | None = None
    patients: tuple[Identifier, ...] | None = None
    patient: str | None = None
    scopes: tuple[Scope, ...] | None = None

    @property
    def account(self) -> tuple[str | None, str]:
        """What is counted against one caller is counted by this."""
        return self.issuer, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """An item of a DICOM code sequence (PS3.3 §8): value, coding scheme, meaning."""

    value: str | None = None
    scheme: str | None = None
    scheme_uid: str | None = None
    meaning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonName:
    """The component groups of a PN (PS3.5 §6.2.1), each `family^given^middle^prefix^suffix`."""

    alphabetic: str | None = None
    ideographic: str | None = None
    phonetic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person by name, and by the codes of their Identification Sequence."""

    name: PersonName | None = None
    codes: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """The patient module as far as QIDO-RS tells it."""

    id: Identifier | None = None
    name: PersonName | None = None
    birth_date: str | None = None
    sex: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An organization by name, and by an identifier."""

    name: str | None = None
    id: Identifier | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request by the numbers that its placer and its filler gave it (PS3.3 §C.4.12)."""

    accession: Identifier | None = None
    placer: Identifier | None = None
    filler: Identifier | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A specimen that images show, by what its container's label and DICOM call it."""

    id: Identifier | None = None
    uid: str | None = None


class Instance(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A SOP instance. `archives` is empty where they are those of its series.

    `document_title` is Document Title (0042,0010); `title` is what else names it: the concept of a
    report or key object selection, the label of a presentation state. `rejections` are the titles
    of the rejection notes that refer to it, or its own where it is one; `is_rejected`: it does not
    exist, but for those whom a policy shows it. Only `rejected` tells either.

    A struct rather than a data class: they come by the thousand, and it is made 15 times as fast.
    """

    uid: str
    sop_class_uid: str | None = None
    number: int | None = None
    number_of_frames: int | None = None
    rows: int | None = None
    columns: int | None = None
    image_laterality: str | None = None
    title: str | None = None
    image_type: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    document_title: str | None = None
    rejections: tuple[str, ...] = ()
    is_rejected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series. `instances` is None until the instance level is loaded.

    `number_of_instances` is what the archives said (0020,1209); None: they did not.
    `archives`: ids of those that hold it, in the order of the configuration; `is_uneven` where
    they do not all hold the same number of its instances; `is_partial` where they hold instances
    that do not exist here: whole, it must not be asked for. `is_subset`: some of its instances are
    hidden from the consumer. `other_modalities`, `other_descriptions`: what rows tell besides.
    """

    uid: str
    archives: tuple[str, ...]
    modality: str | None = None
    number: int | None = None
    description: str | None = None
    number_of_instances: int | None = None
    date: str | None = None
    time: str | None = None
    utc_offset: str | None = None
    body_part: str | None = None
    anatomic_region: Code | None = None
    laterality: str | None = None
    performing_physicians: tuple[Person, ...] = ()
    operators: tuple[Person, ...] = ()
    manufacturer: str | None = None
    manufacturer_model_name: str | None = None
    device_serial_number: str | None = None
    station_name: str | None = None
    institution_name: str | None = None
    department_name: str | None = None
    accessions: tuple[Identifier, ...] = ()
    reason_codes: tuple[Code, ...] = ()
    reason_texts: tuple[str, ...] = ()
    instances: tuple[Instance, ...] | None = None
    is_uneven: bool = False
    warnings: tuple[str, ...] = ()
    department_type: Code | None = None
    specimens: tuple[Specimen, ...] = ()
    orders: tuple[Order, ...] = ()
    institution: Code | None = None
    performed_location: str | None = None
    custodians: tuple[Organization, ...] = ()
    is_partial: bool = False
    is_subset: bool = False
    other_modalities: tuple[str, ...] = ()
    other_descriptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study, merged over archives and unfiltered; the source of every representation.

    `series` is None until the series level is loaded. `modalities`, `number_of_series` and
    `number_of_instances` are what the archives said; a representation recomputes them from
    `series` where it is loaded. `warnings` are in words that may be shown to the caller.
    `last_updated`: the FHIR instant (UTC, milliseconds) since which it has been so; None: unknown.
    `is_partial`: archives hold some of it that does not exist here. `is_subset`: some of it is
    hidden from the consumer. `is_of_several_patients`: its rows do not agree whose it is, and the
    first is believed; `patient_ids` are all that they name then. `other_dates`: what rows tell
    besides `date`. `knows_rejections`: its instances name the notes that reject them.
    """

    uid: str
    archives: tuple[str, ...]
    patient: Patient = Patient()
    study_id: str | None = None
    accession: Identifier | None = None
    date: str | None = None
    time: str | None = None
    utc_offset: str | None = None
    description: str | None = None
    modalities: tuple[str, ...] = ()
    referring_physician: Person | None = None
    physicians_reading: tuple[Person, ...] = ()
    procedure_codes: tuple[Code, ...] = ()
    admission: Identifier | None = None
    availability: str | None = None
    number_of_series: int | None = None
    number_of_instances: int | None = None
    series: tuple[Series, ...] | None = None
    warnings: tuple[str, ...] = ()
    last_updated: str | None = None
    orders: tuple[Order, ...] = ()
    is_partial: bool = False
    is_subset: bool = False
    is_of_several_patients: bool = False
    knows_rejections: bool = False
    patient_ids: tuple[Identifier, ...] = ()
    other_dates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What the instance level of a study tells: instances by SeriesInstanceUID, and the rest.

    `series` are what only instances know of their series; `is_complete` is False where something
    could not be read that another time may be. `patient_ids`: whom instances name.
    """

    instances: dict[str, tuple[Instance, ...]]
    series: tuple[Series, ...] = ()
    warnings: tuple[str, ...] = ()
    is_complete: bool = True
    patient_ids: tuple[Identifier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the configuration says of one archive and its records need: zones, systems, owner."""

    archive: str
    timezone: str | None = None
    patient_system: str | None = None
    accession_system: str | None = None
    issuer_systems: tuple[tuple[str, str], ...] = ()
    custodian: Organization | None = None
    show_rejected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A FHIR Endpoint as far as resolution needs it, whatever version it came from.

    `connection_types` holds codes as written (also ones that cannot be resolved); `status` is
    FHIR's code or None. `period_start` and `period_end` are FHIR dateTimes, possibly partial.
    """

    id: str
    address: str | None
    connection_types: tuple[str, ...]
    status: str | None = "active"
    name: str | None = None
    period_start: str | None = None
    period_end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """One range of bytes that is asked for (RFC 9110 §14.1.2), from 0, both ends included.

    `first` None: the last `last` bytes; `last` None: all that follows.
    """

    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The bytes of a body of `total` bytes that are given, both ends included."""

    first: int
    last: int
    total: int

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One body of an answer as it streams by; its chunks must be read before the next part's.

    `content_type` may carry a transfer-syntax parameter; `length` is in bytes, None: not known.
    `span` tells which bytes these are, None: all. `takes_ranges`: some of them can be asked for.
    """

    content_type: str
    chunks: AsyncIterator[bytes]
    length: int | None = None
    span: Span | None = None
    takes_ranges: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A study's record, and the ids of the archives that stayed silent while it was loaded.

    `parts`: what it was merged from, one for each archive that has some of it. `are_late`: those
    that are silent all let their time pass. `asked`: those that were asked just now.
    """

    study: Study
    silent: tuple[str, ...] = ()
    parts: tuple[Study, ...] = ()
    are_late: bool = False
    asked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[T]):
    """What a search found, the archives that stayed silent, and whether there is more.

    `is_subset`: something of what was found is hidden from the consumer.
    `unsearchable`: archives that cannot be searched by these keys, whatever they hold.
    `again`: of studies asked for by UID, rows that tell another patient or date than the item.
    """

    items: tuple[T, ...]
    silent: tuple[str, ...] = ()
    has_more: bool = False
    is_subset: bool = False
    unsearchable: tuple[str, ...] = ()
    again: tuple[T, ...] = ()
