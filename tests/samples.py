"""The sample DICOM files of the demo as tests see them: each with the UIDs that name it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from tests.servers import Orthanc

KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A DICOM file and what it says of itself."""

    path: Path
    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class_uid: str
    modality: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoArchives:
    """Two archives and what each of them holds. Studies are named by UID."""

    north: Orthanc
    south: Orthanc
    split_study: str
    """Held by both, series by series: `north_series` in the north, `south_series` in the south."""
    north_series: frozenset[str]
    south_series: frozenset[str]
    shared_study: str
    """Held whole by both."""
    north_studies: frozenset[str]
    """Held by the north alone."""
    south_studies: frozenset[str]
    """Held by the south alone."""
    in_north: tuple[Sample, ...]
    in_south: tuple[Sample, ...]


def read(paths: Iterable[Path]) -> tuple[Sample, ...]:
    """The samples among `paths`, sorted by UID; files without the UIDs are left out."""
    samples = [sample for path in paths if (sample := _sample(path)) is not None]
    return tuple(sorted(samples, key=lambda one: (one.study_uid, one.series_uid, one.instance_uid)))


def _sample(path: Path) -> Sample | None:
    try:
        header = pydicom.dcmread(path, specific_tags=list(KEYS))
    except (InvalidDicomError, OSError):
        return None
    values = [str(header.get(key) or "") for key in KEYS]
    if not all(values[:4]):
        return None
    return Sample(
        path=path,
        study_uid=values[0],
        series_uid=values[1],
        instance_uid=values[2],
        sop_class_uid=values[3],
        modality=values[4],
        transfer_syntax=str(header.file_meta.TransferSyntaxUID),
    )


def series_by_study(samples: Sequence[Sample]) -> dict[str, list[str]]:
    """The series UIDs of each study, in the order of the samples."""
    found: dict[str, list[str]] = {}
    for sample in samples:
        series = found.setdefault(sample.study_uid, [])
        if sample.series_uid not in series:
            series.append(sample.series_uid)
    return found


def divide(samples: Sequence[Sample], north: Orthanc, south: Orthanc) -> TwoArchives:
    """Which archive holds what: one study split by series, one held twice, the rest in turns."""
    studies = series_by_study(samples)
    split = next(uid for uid, series in studies.items() if len(series) > 1)
    shared, *others = (uid for uid in studies if uid != split)
    series, half = studies[split], (len(studies[split]) + 1) // 2
    north_series, south_series = frozenset(series[:half]), frozenset(series[half:])
    north_studies, south_studies = frozenset(others[::2]), frozenset(others[1::2])
    return TwoArchives(
        north=north,
        south=south,
        split_study=split,
        north_series=north_series,
        south_series=south_series,
        shared_study=shared,
        north_studies=north_studies,
        south_studies=south_studies,
        in_north=_holding(samples, north_studies | {shared}, north_series),
        in_south=_holding(samples, south_studies | {shared}, south_series),
    )


def _holding(
    samples: Sequence[Sample], studies: frozenset[str], series: frozenset[str]
) -> tuple[Sample, ...]:
    return tuple(one for one in samples if one.study_uid in studies or one.series_uid in series)


def hold(archive: Orthanc, samples: Sequence[Sample]) -> None:
    """Make `archive` run and hold exactly these samples; quick when it does already."""
    archive.thaw()
    archive.start()
    if archive.uids() == {one.instance_uid for one in samples}:
        return
    archive.clear()
    for sample in samples:
        archive.upload(sample.path)
