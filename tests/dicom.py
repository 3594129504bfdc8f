"""Small DICOM things that tests make up: files, QIDO rows, metadata."""

from __future__ import annotations

import io
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

EXPLICIT = "1.2.840.10008.1.2.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def part10_file(
    instance_uid: str,
    transfer_syntax: str = EXPLICIT,
    *,
    study_uid: str = "1.2.3",
    series_uid: str = "1.2.3.4",
    padding: int = 0,
) -> bytes:
    """A DICOM file (PS3.10) without pixels; `padding` bytes make it as large as wanted."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(CT_IMAGE)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    dataset.SOPClassUID = CT_IMAGE
    dataset.SOPInstanceUID = instance_uid
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = series_uid
    if padding:
        dataset.EncapsulatedDocument = bytes(padding)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def row(**elements: Any) -> dict[str, Any]:
    """A QIDO row from keywords: `row(StudyInstanceUID="1.2", Modality="CT")`; lists are values."""
    dataset = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset.to_json_dict()
