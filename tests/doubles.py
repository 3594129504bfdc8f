"""A small archive that does as it should, or just as it is told not to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.dicom import CT_IMAGE, part10_file, row
from tests.fault_archive import Answer, FaultArchive, Seen, json_answer, multipart_answer

FRAME = b"frame " * 100
PIXELS = "7FE00010"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An instance that a double holds."""

    study: str
    series: str
    instance: str
    modality: str = "CT"
    syntax: str = "1.2.840.10008.1.2.1"
    sop_class: str = CT_IMAGE
    more: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    """What its metadata tell besides."""

    @property
    def path(self) -> str:
        """Its path below the base."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.instance}"

    @property
    def file(self) -> bytes:
        """Its stored file."""
        return part10_file(self.instance, self.syntax, study_uid=self.study, series_uid=self.series)


def key_objects(
    study: str, number: int, code: str, *points_at: Held, meaning: str = "Of Interest"
) -> Held:
    """A key object selection of that title (DCM) in a series of its own."""
    title = row(CodeValue=code, CodingSchemeDesignator="DCM", CodeMeaning=meaning)
    evidence = [
        row(SeriesInstanceUID=one.series) | {"00081199": _sequence(_reference(one))}
        for one in points_at
    ]
    return Held(
        study=study,
        series=f"{study}.{number}",
        instance=f"{study}.{number}.1",
        modality="KO",
        sop_class=KEY_OBJECTS,
        more={
            "0040A043": {"vr": "SQ", "Value": [title]},
            "0040A375": _sequence(row(StudyInstanceUID=study) | {"00081115": _sequence(*evidence)}),
            "0040A730": _sequence(*({"00081199": _sequence(_reference(one))} for one in points_at)),
        },
    )


def _reference(one: Held) -> dict[str, Any]:
    return row(ReferencedSOPClassUID=one.sop_class, ReferencedSOPInstanceUID=one.instance)


def _sequence(*items: dict[str, Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(items)}


class Double:
    """Answers on `server` for what it holds.

    `ignores_parents`: as an archive does that looks at the last UID of a path only.
    """

    def __init__(
        self, server: FaultArchive, held: Sequence[Held], *, ignores_parents: bool = False
    ) -> None:
        self.server = server
        self.held = list(held)
        self.ignores_parents = ignores_parents
        self.counts = True
        """Whether study rows tell counts and modalities."""
        self.counts_below = False
        """Whether series rows carry those of the study, as Orthanc's do."""
        server.on("*", self.answer)

    def answer(self, seen: Seen) -> Answer:
        """What it says to a request."""
        steps = seen.route.strip("/").split("/")
        named = dict(zip(steps[::2], steps[1::2], strict=False))
        mine = [h for h in self.held if self._is_named(h, named)]
        last = steps[-1]
        if last in {"studies", "series", "instances"}:
            return json_answer(self.rows(last, mine, parse_qs(urlsplit(seen.path).query)))
        if not mine or last in {"thumbnail", "rendered"}:
            return Answer(status=404)
        if last == "metadata":
            return json_answer([self._metadata(h) for h in mine])
        if "frames" in named:
            parts = [FRAME + number.encode() for number in named["frames"].split(",")]
            return multipart_answer(parts, part_type="application/octet-stream")
        if "bulk" in named:
            return multipart_answer([b"bulk"], part_type="application/octet-stream")
        return multipart_answer([h.file for h in mine])

    def _is_named(self, held: Held, named: dict[str, str]) -> bool:
        wanted = [
            (held.study, named.get("studies")),
            (held.series, named.get("series")),
            (held.instance, named.get("instances")),
        ]
        given = [(has, want) for has, want in wanted if want is not None]
        if self.ignores_parents:
            given = given[-1:]
        return all(has == want for has, want in given)

    def rows(
        self, level: str, mine: Sequence[Held], asked: Mapping[str, Sequence[str]]
    ) -> list[dict[str, Any]]:
        """The rows of a level for a query string taken apart."""
        studies = asked.get("StudyInstanceUID", [None])[0]
        instance = asked.get("SOPInstanceUID", [None])[0]
        mine = [h for h in mine if studies is None or h.study in studies.split(",")]
        mine = [h for h in mine if instance in {None, h.instance}]
        rows = list(dict(self._row(level, h) for h in mine).values())
        offset = int(asked.get("offset", ["0"])[0])
        limit = int(asked.get("limit", ["0"])[0]) or len(rows)
        return rows[offset : offset + limit]

    def _row(self, level: str, held: Held) -> tuple[str, dict[str, Any]]:
        if level == "studies":
            return held.study, self.study_row(held.study)
        if level == "series":
            return held.series, self.series_row(held)
        return held.instance, _instance_row(held)

    def study_row(self, study: str) -> dict[str, Any]:
        """The row of a study."""
        if not self.counts:
            return row(StudyInstanceUID=study, PatientID="P1")
        mine = [h for h in self.held if h.study == study]
        return row(
            StudyInstanceUID=study,
            PatientID="P1",
            ModalitiesInStudy=sorted({h.modality for h in mine}),
            NumberOfStudyRelatedSeries=len({h.series for h in mine}),
            NumberOfStudyRelatedInstances=len(mine),
        )

    def series_row(self, held: Held) -> dict[str, Any]:
        """The row of a series."""
        count = sum(h.series == held.series for h in self.held)
        above = self.study_row(held.study) if self.counts_below else {}
        return above | row(
            StudyInstanceUID=held.study,
            SeriesInstanceUID=held.series,
            Modality=held.modality,
            NumberOfSeriesRelatedInstances=count,
        )

    def _metadata(self, held: Held) -> dict[str, Any]:
        uri = f"{self.server.url}{held.path}/bulk/1"
        return _instance_row(held) | {PIXELS: {"vr": "OW", "BulkDataURI": uri}} | held.more


def _instance_row(held: Held) -> dict[str, Any]:
    return row(
        StudyInstanceUID=held.study,
        SeriesInstanceUID=held.series,
        SOPInstanceUID=held.instance,
        SOPClassUID=held.sop_class,
        Rows=64,
        Columns=64,
    )
