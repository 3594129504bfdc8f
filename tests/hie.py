"""A small exchange of images: two archives, five studies, and callers who may see parts of them.

What each caller may see is told here by plain predicates on DICOM files, written without the rules
of the gateway: slow, and obvious. Whatever a route answers is compared with that.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from tests import issuer
from tests.ehr import Ehr

ROOT = "1.2.826.0.1.3680043.8.498.99"
ABSENT = f"{ROOT}.404"
"""A UID that nothing has."""
CT = "1.2.840.10008.5.1.4.1.1.2"
SC = "1.2.840.10008.5.1.4.1.1.7"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
KO = "1.2.840.10008.5.1.4.1.1.88.59"
PR = "1.2.840.10008.5.1.4.1.1.11.1"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
IMAGES = frozenset({CT, SC, SEG})
ISSUER = "https://issuer.example.org"
SYSTEMS = {"HOSP-A": "urn:oid:2.999.3", "HOSP-B": "urn:oid:2.999.4"}
SIDE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One file in one archive, by what stands in it."""

    archive: str
    path: Path
    patient_id: str
    issuer: str
    study: str
    series: str
    instance: str
    sop_class: str
    modality: str
    station: str
    rejected: frozenset[str] = frozenset()
    """The titles of the rejection notes that name it, or its own where it is one."""
    content: bytes = field(repr=False)

    @property
    def is_image(self) -> bool:
        """Whether it holds pixels."""
        return self.sop_class in IMAGES

    @property
    def uids(self) -> frozenset[str]:
        """The UIDs that name it."""
        return frozenset({self.study, self.series, self.instance})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who asks; `may` tells of one file whether it exists for them."""

    name: str
    headers: dict[str, str]
    may: Callable[[Copy], bool]
    denies_partial: bool = False
    is_operator: bool = False
    is_known: bool = True
    is_scoped: bool = True
    patient: str | None = None
    """The FHIR id of the patient that they are bound to."""
    is_of_ehr: bool = False
    """Whether that is the id of a Patient of a FHIR server, which the gateway asks who it is."""
    rejected: frozenset[str] = frozenset()
    """Of what is rejected, they see what no other note rejects."""

    def __str__(self) -> str:
        return self.name

    def exists(self, copy: Copy) -> bool:
        """Whether a file is there for them, were it not for what `may` says."""
        return copy.rejected <= self.rejected

    @property
    def consumer(self) -> str:
        """What the gateway calls them: the consumer of a key, or the client of a token."""
        return self.name if "X-API-Key" in self.headers else "app"


def _is_report(copy: Copy) -> bool:
    return copy.modality == "SR"


def _is_of_hidden_class(copy: Copy) -> bool:
    return copy.sop_class == SC or copy.sop_class.startswith("1.2.840.10008.5.1.4.1.1.88.")


def _key(name: str) -> dict[str, str]:
    return {"X-API-Key": f"key-of-{name}"}


def bearer(**claims: Any) -> dict[str, str]:
    now = int(time.time())
    said = {
        "iss": ISSUER, "aud": issuer.AUDIENCE, "sub": "user-1", "iat": now, "exp": now + 3600,
        "client_id": "app", **claims,
    }  # fmt: skip
    token = jwt.encode(said, issuer.RSA_KEY, algorithm="RS256", headers={"kid": "r"})
    return {"Authorization": f"Bearer {token}"}


def patient_id_of(copy: Copy) -> str | None:
    """The id of the Patient resource, as the configuration below lists them."""
    return {("P1", "HOSP-A"): "anna", ("P1", "HOSP-B"): "bert", ("P2", "HOSP-A"): "cleo"}.get(
        (copy.patient_id, copy.issuer)
    )


def callers() -> tuple[Caller, ...]:
    """Everybody who asks."""
    return (
        Caller(name="full", headers=_key("full"), may=lambda c: True, is_operator=True),
        Caller(name="no-sr", headers=_key("no-sr"), may=lambda c: not _is_report(c)),
        Caller(
            name="no-sr-deny",
            headers=_key("no-sr-deny"),
            may=lambda c: not _is_report(c),
            denies_partial=True,
        ),
        Caller(name="no-class", headers=_key("no-class"), may=lambda c: not _is_of_hidden_class(c)),
        Caller(name="north-only", headers=_key("north-only"), may=lambda c: c.archive == "north"),
        Caller(
            name="qa",
            headers=_key("qa"),
            may=lambda c: c.rejected <= {QUALITY},
            rejected=frozenset({QUALITY}),
        ),
        Caller(
            name="qa-only-deny",
            headers=_key("qa-only-deny"),
            may=lambda c: bool(c.rejected) and not _is_report(c),
            rejected=frozenset({QUALITY, SAFETY}),
            denies_partial=True,
        ),
        Caller(
            name="bound",
            headers=bearer(scope="launch/patient patient/*.rs", patient="anna"),
            may=lambda c: (c.patient_id, c.issuer) == ("P1", "HOSP-A"),
            patient="anna",
        ),
        Caller(
            name="bound-by-ehr",
            headers=bearer(scope="launch/patient patient/*.rs", patient="anna"),
            may=lambda c: (c.patient_id, c.issuer) == ("P1", "HOSP-A"),
            patient="anna",
            is_of_ehr=True,
        ),
        Caller(
            name="unscoped",
            headers=bearer(scope="openid patient/Observation.rs", patient="anna"),
            may=lambda c: False,
            is_scoped=False,
            patient="anna",
        ),
        Caller(name="unknown", headers=_key("nobody"), may=lambda c: False, is_known=False),
    )


def sections(folder: Path, north: dict[str, Any], south: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a gateway for these callers over both archives."""
    keys = folder / "jwks.json"
    keys.write_text(json.dumps(issuer.jwks()))
    publish = {"dicom-wado-rs": "https://{}.internal.example.org/wado-rs"}
    return {
        "archives": {
            name: {
                **section,
                "issuer_systems": SYSTEMS,
                "publish": {k: v.format(name) for k, v in publish.items()},
            }
            for name, section in {"north": north, "south": south}.items()
        },
        "endpoints": {"expose": "both"},
        "fhir": {
            "patients": {
                "by": "listed",
                "listed": {
                    "anna": {"system": SYSTEMS["HOSP-A"], "value": "P1"},
                    "bert": {"system": SYSTEMS["HOSP-B"], "value": "P1"},
                    "cleo": {"system": SYSTEMS["HOSP-A"], "value": "P2"},
                },
            }
        },
        "viewers": {
            "v": {
                "type": "template",
                "title": "Viewer",
                "url": "https://viewer.example.org/?s={study_uids}",
            }
        },
        "auth": {
            "mode": "required",
            "api_keys": {
                name: {"key": f"key-of-{name}"} | ({} if name == "full" else {"policy": name})
                for name in (
                    *("full", "no-sr", "no-sr-deny", "no-class", "north-only"),
                    *("qa", "qa-only-deny"),
                )
            },
            "issuers": [
                {
                    "issuer": ISSUER,
                    "audience": issuer.AUDIENCE,
                    "jwks_file": str(keys),
                    "policy": "everything",
                    "authorization_url": f"{ISSUER}/authorize",
                    "token_url": f"{ISSUER}/token",
                }
            ],
        },
        "policies": {
            "everything": {},
            "no-sr": {"hide": [{"modality": "SR"}]},
            "no-sr-deny": {"hide": [{"modality": "SR"}], "partial": "deny"},
            "no-class": {"hide": [{"sop_class": ["1.2.840.10008.5.1.4.1.1.88.*", SC]}]},
            "north-only": {"hide": [{"archive": "south"}]},
            "qa": {"allow": [{"rejection_note": ["none", int(QUALITY)]}]},
            "qa-only-deny": {
                "hide": [{"rejection_note": "none"}, {"modality": "SR"}],
                "allow": [{"rejection_note": [QUALITY, SAFETY]}],
                "partial": "deny",
            },
        },
    }


def scoped(folder: Path) -> dict[str, Any]:
    """`auth` and `policies` for bearers who are held by their scopes alone."""
    keys = folder / "jwks.json"
    keys.write_text(json.dumps(issuer.jwks()))
    one = {"issuer": ISSUER, "audience": issuer.AUDIENCE, "jwks_file": str(keys), "policy": "all"}
    return {"auth": {"mode": "required", "issuers": [one]}, "policies": {"all": {}}}


def by_ehr(sections: dict[str, Any], ehr: Ehr) -> dict[str, Any]:
    """The same configuration, with patients whom `ehr` knows."""
    for name, system, value in (
        ("anna", "HOSP-A", "P1"),
        ("bert", "HOSP-B", "P1"),
        ("cleo", "HOSP-A", "P2"),
    ):
        ehr.knows(name, (SYSTEMS[system], value), ("urn:oid:2.999.9", "P2"))
    ehr.patients["anna"]["identifier"].append(
        {"system": SYSTEMS["HOSP-A"], "value": "P2", "use": "old"}
    )
    servers = {"ehr": {"url": ehr.url, "use": ["patients"]}}
    return sections | {"fhir": {"patients": {"by": "server"}, "servers": servers}}


class World:
    """All copies, and what callers see of them."""

    def __init__(self, copies: Sequence[Copy]) -> None:
        self.copies = tuple(copies)

    def seen(self, caller: Caller, within: str = "") -> tuple[Copy, ...]:
        """The copies that exist for a caller, of a study or series if one is named."""
        there = (c for c in self.copies if caller.exists(c) and caller.may(c))
        return tuple(c for c in there if within in {"", *c.uids})

    def all(self, within: str = "") -> tuple[Copy, ...]:
        """The copies that there are."""
        return tuple(c for c in self.copies if within in {"", *c.uids})

    def studies(self) -> list[str]:
        """Every study."""
        return sorted({c.study for c in self.copies})

    def is_partial(self, caller: Caller, within: str) -> bool:
        """Whether some instance of a study or series does not exist for a caller."""
        seen = {c.instance for c in self.seen(caller, within)}
        return {c.instance for c in self.all(within) if caller.exists(c)} != seen

    def hidden_uids(self, caller: Caller) -> frozenset[str]:
        """The UIDs that no answer may hold: those of what is hidden, and named by nothing seen."""
        seen = self.seen(caller)
        named = frozenset(uid for c in seen for uid in c.uids)
        hidden = frozenset(uid for c in self.copies for uid in c.uids) - named
        return frozenset(u for u in hidden if not any(_names(c.content, u) for c in seen))


def _names(content: bytes, uid: str) -> bool:
    """Whether a file names a UID, and not only one that begins like it."""
    text = uid.encode()
    at = content.find(text)
    while at >= 0:
        if content[at + len(text) : at + len(text) + 1].strip(b"\0 ") not in _DIGITS:
            return True
        at = content.find(text, at + 1)
    return False


_DIGITS = frozenset(bytes([n]) for n in b"0123456789.")


def build(folder: Path) -> World:
    """Write the files of both archives below `folder`/north and `folder`/south."""
    copies = []
    for archive, name, dataset in _files():
        path = folder / archive / f"{name}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        path.write_bytes(buffer.getvalue())
        copies.append(_copy(archive, path))
    return World(copies)


def _copy(archive: str, path: Path) -> Copy:
    one = pydicom.dcmread(path)
    return Copy(
        archive=archive,
        path=path,
        patient_id=str(one.PatientID),
        issuer=str(one.IssuerOfPatientID),
        study=str(one.StudyInstanceUID),
        series=str(one.SeriesInstanceUID),
        instance=str(one.SOPInstanceUID),
        sop_class=str(one.SOPClassUID),
        modality=str(one.Modality),
        station=str(one.StationName),
        rejected=_rejections(str(one.SOPInstanceUID)),
        content=path.read_bytes(),
    )


_SERIES: tuple[tuple[int, int, str, tuple[tuple[int, str, str], ...]], ...] = (
    # study, series, modality, (instance, SOP class, archives)
    (1, 1, "CT", ((1, CT, "n"), (2, CT, "n"), (3, CT, "n"))),
    (1, 2, "CT", ((1, CT, "n"), (2, CT, "ns"), (3, SC, "s"))),
    (1, 3, "SR", ((1, SR, "n"),)),
    (1, 4, "PR", ((1, PR, "s"),)),
    (1, 5, "KO", ((1, KO, "n"),)),
    (1, 6, "SEG", ((1, SEG, "s"),)),
    (2, 1, "CT", ((1, CT, "s"), (2, CT, "s"))),
    (3, 1, "SR", ((1, SR, "n"),)),
    (4, 1, "CT", ((1, CT, "ns"), (2, CT, "ns"))),
    (5, 1, "CT", ((1, CT, "n"),)),
    (5, 2, "SR", ((1, SR, "s"),)),
    (6, 1, "CT", ((1, CT, "n"), (2, CT, "ns"), (3, CT, "n"), (4, CT, "s"), (5, CT, "n"))),
    (6, 2, "CT", ((1, SC, "s"),)),
    (6, 3, "KO", ((1, KO, "n"), (2, KO, "n"))),
    (6, 4, "KO", ((1, KO, "s"),)),
    (6, 5, "SR", ((1, SR, "n"),)),
    (7, 1, "CT", ((1, CT, "n"),)),
    (7, 2, "KO", ((1, KO, "s"),)),
)
QUALITY, SAFETY = "113001", "113037"
_SELECTIONS: dict[tuple[int, int, int], tuple[str, tuple[tuple[int, int], ...]]] = {
    # study, series, instance of a key object selection: title, (series, instance) that it names
    (6, 3, 1): (QUALITY, ((1, 2), (1, 3), (2, 1), (5, 1))),
    (6, 3, 2): ("113000", ((1, 3), (1, 4))),
    (6, 4, 1): (SAFETY, ((1, 3), (1, 4))),
    (7, 2, 1): (SAFETY, ((1, 1),)),
}
_PATIENTS = {1: ("P1", "HOSP-A"), 2: ("P1", "HOSP-B"), 3: ("P1", "HOSP-A"), 4: ("P2", "HOSP-A"),
             5: ("P1", "HOSP-A"), 6: ("P1", "HOSP-A"), 7: ("P2", "HOSP-A")}  # fmt: skip


def _files() -> Iterator[tuple[str, str, Dataset]]:
    for study, series, modality, instances in _SERIES:
        for number, sop_class, archives in instances:
            for archive in archives:
                name = {"n": "north", "s": "south"}[archive]
                made = _dataset(study, series, modality, number, sop_class, name)
                yield name, f"{study}-{series}-{number}", made


def _dataset(
    study: int, series: int, modality: str, number: int, sop_class: str, archive: str
) -> Dataset:
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    uid = UID(f"{ROOT}.{study}.{series}.{number}")
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = uid
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.StudyInstanceUID = f"{ROOT}.{study}"
    one.SeriesInstanceUID = f"{ROOT}.{study}.{series}"
    one.PatientID, one.IssuerOfPatientID = _PATIENTS[study]
    one.PatientName = f"Canary{one.PatientID}^{one.IssuerOfPatientID}"
    one.PatientBirthDate, one.PatientSex = "19700101", "F"
    one.StudyDate, one.StudyTime, one.StudyID = f"2024010{study}", "101500", f"ID{study}"
    one.AccessionNumber = f"ACC{study}"
    one.StudyDescription = f"Study {study} told by {archive}"
    one.ReferringPhysicianName = f"Referrer{archive}^Of"
    one.Modality, one.SeriesNumber, one.InstanceNumber = modality, series, number
    one.SeriesDescription = f"{modality} series"
    one.StationName = f"STATION{modality}{series}"
    one.BodyPartExamined = {"SR": "HEART", "SEG": "LIVER", "PR": "LUNG"}.get(modality, "CHEST")
    one.PerformingPhysicianName = f"Performer{modality}^X"
    one.OperatorsName = f"Operator{modality}^X"
    request = Dataset()
    request.ReasonForTheRequestedProcedure = f"Reason {modality}"
    request.AccessionNumber = f"REQ{modality}{study}"
    one.RequestAttributesSequence = [request]
    if sop_class in IMAGES:
        _draw(one, study * 100 + series * 10 + number)
    elif sop_class in {SR, KO}:
        _tell(one, modality)
    if (selection := _SELECTIONS.get((study, series, number))) is not None:
        _select(one, *selection)
    return one


def _select(one: Dataset, title: str, named: Sequence[tuple[int, int]]) -> None:
    """A key object selection of this title (DCM), of instances (series and number) of its study."""
    code, evidence, content = Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = title, "DCM", "Title"
    one.ConceptNameCodeSequence = [code]
    content.RelationshipType, content.ValueType = "CONTAINS", "IMAGE"
    content.ReferencedSOPSequence = []
    evidence.StudyInstanceUID = one.StudyInstanceUID
    evidence.ReferencedSeriesSequence = []
    for series, number in named:
        item, of_series = Dataset(), Dataset()
        item.ReferencedSOPClassUID = CT
        item.ReferencedSOPInstanceUID = f"{one.StudyInstanceUID}.{series}.{number}"
        of_series.SeriesInstanceUID = f"{one.StudyInstanceUID}.{series}"
        of_series.ReferencedSOPSequence = [item]
        content.ReferencedSOPSequence.append(item)
        evidence.ReferencedSeriesSequence.append(of_series)
    one.CurrentRequestedProcedureEvidenceSequence = [evidence]
    one.ContentSequence = [content]


def _rejections(uid: str) -> frozenset[str]:
    """The titles of the notes that name an instance, or its own where it is one."""
    found = set()
    for (study, series, number), (title, named) in _SELECTIONS.items():
        note = f"{ROOT}.{study}.{series}.{number}"
        names = {note, *(f"{ROOT}.{study}.{s}.{n}" for s, n in named)}
        if title in {QUALITY, SAFETY} and uid in names:
            found.add(title)
    return frozenset(found)


def _draw(one: Dataset, seed: int) -> None:
    """Pixels unlike those of any other instance."""
    one.Rows = one.Columns = SIDE
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 8
    one.HighBit, one.PixelRepresentation = 7, 0
    if one.SOPClassUID == SEG:
        one.NumberOfFrames, one.SegmentationType = 1, "FRACTIONAL"
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), np.uint8)
    one.PixelData = noise.tobytes()
    one["PixelData"].VR = "OB"


def _tell(one: Dataset, modality: str) -> None:
    one.ValueType, one.ContinuityOfContent = "CONTAINER", "SEPARATE"
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.TextValue = f"Words of the {modality}"
    one.ContentSequence = [item]
