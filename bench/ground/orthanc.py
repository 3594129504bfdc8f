"""Orthanc with studies of any size, behind an nginx that notes what it was asked for."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from bench.ground.servers import NginxProxy
from tests.servers import Orthanc

SERIES = 4
BASE = "/dicom-web"
_WRITTEN_SECONDS = 0.2


class Noting(NginxProxy):
    """Passes on, and remembers the path and query of every request."""

    def __init__(self, folder: Path, upstream: int) -> None:
        super().__init__(folder, upstream)
        self.outside += "log_format whole '$request_uri';"
        self.locations = f"access_log {folder}/asked.log whole;\n{self.locations}"

    def asked(self) -> list[str]:
        """All requests so far, in the order of their ends; the last is written after its answer."""
        time.sleep(_WRITTEN_SECONDS)
        lines = (self.folder / "asked.log").read_text().splitlines()
        return [line for line in lines if line != "/ready"]


def study_of(instances: int) -> str:
    """The UID of the study that has so many instances."""
    return f"1.2.826.0.1.3680043.8.498.9.{instances}"


@contextmanager
def holding(folder: Path, *sizes: int) -> Iterator[Noting]:
    """An Orthanc with a study for each number of instances, by way of what stands before it."""
    with Orthanc(folder / "orthanc") as orthanc:
        for instances in sizes:
            orthanc.upload_packed(_packed(study_of(instances), instances))
        with Noting(folder / "before", orthanc.port) as before:
            yield before


def _packed(study: str, instances: int) -> bytes:
    """All files of a study as one ZIP file, which Orthanc unpacks."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for number in range(instances):
            packed.writestr(f"{number}.dcm", _file(study, number))
    return content.getvalue()


def _file(study: str, number: int) -> bytes:
    series = f"{study}.{number % SERIES}"
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"{series}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.PatientID, dataset.PatientName = study[-4:], "Yamada^Tarou"
    dataset.PatientBirthDate, dataset.PatientSex = "19610308", "F"
    dataset.StudyDate, dataset.StudyTime = "20240119", "091405"
    dataset.AccessionNumber, dataset.StudyID = f"A{study[-4:]}", "1"
    dataset.ReferringPhysicianName = "Sato^Keiko"
    dataset.Modality = "CT"
    dataset.SeriesNumber, dataset.InstanceNumber = number % SERIES, number
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 128, 128, 16
    content = io.BytesIO()
    pydicom.dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()
