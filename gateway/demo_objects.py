"""The demonstration's objects: pydicom's files by name, and a report, a PDF, key images, a SEG.

Whatever refers to other objects is made to refer to those of its own study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

_KEY_IMAGE = 4
"""The position in its study of the image that key images, report and segmentation point at."""

_FOREIGN = (
    "ReferencedPerformedProcedureStepSequence",
    "ReferencedRTPlanSequence",
    "ReferencedStructureSetSequence",
    "SourceImageSequence",
)
"""References of pydicom's files to objects that are not here."""


def source(name: str, written: Sequence[Dataset]) -> Dataset:
    """A fresh data set: the file `name`.dcm of pydicom, or what the maker called `name` makes."""
    maker = _MAKERS.get(name)
    return maker(written) if maker is not None else _file(name)


def codes(value: str, scheme: str, meaning: str) -> list[Dataset]:
    """A code sequence of one item (PS3.3 §8)."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return [item]


def place(
    dataset: Dataset, number: int, frame_of_reference: str, written: Sequence[Dataset]
) -> None:
    """Put `dataset` in its study's space, as slice `number`, and refer to the study's objects."""
    if "FrameOfReferenceUID" in dataset:
        dataset.FrameOfReferenceUID = frame_of_reference
    if number > 1 and "ImagePositionPatient" in dataset:
        _shift(dataset, number - 1)
    if dataset.Modality == "RTSTRUCT":
        _refer_to_images(dataset, frame_of_reference, written)
    if dataset.Modality == "RTPLAN":
        dataset.ReferencedStructureSetSequence = _references(written[-1:])
    if dataset.Modality == "RTDOSE":
        dataset.ReferencedRTPlanSequence = _references(written[-1:])


def _file(name: str) -> Dataset:
    """The file `name`.dcm of pydicom, with the meta information that it may lack."""
    import pydicom.data
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian

    folder = Path(pydicom.data.__file__).parent / "test_files"
    dataset = pydicom.dcmread(folder / f"{name}.dcm", force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    for keyword in _FOREIGN:
        if keyword in dataset:
            del dataset[keyword]
    return dataset


def _shift(dataset: Dataset, steps: int) -> None:
    """Move the slice along z by `steps` thicknesses, and the content of a native one with it."""
    import numpy as np

    x, y, z = (float(v) for v in dataset.ImagePositionPatient)
    thickness = float(dataset.get("SliceThickness") or 1)
    dataset.ImagePositionPatient = [x, y, round(z - steps * thickness, 4)]
    dataset.SliceLocation = round(z - steps * thickness, 4)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    order = ">" if not dataset.file_meta.TransferSyntaxUID.is_little_endian else "<"
    stored = np.frombuffer(dataset.PixelData, dtype=f"{order}i2")
    size = dataset.Rows * dataset.Columns
    image = stored[:size].reshape(dataset.Rows, dataset.Columns)
    padded = np.pad(image, ((2 * steps, 0), (0, steps)), mode="edge")
    moved = padded[: dataset.Rows, steps:]
    dataset.PixelData = moved.tobytes() + stored[size:].tobytes()


def _references(datasets: Iterable[Dataset]) -> list[Dataset]:
    """Items of a SOP instance reference macro (PS3.3 §10.8)."""
    from pydicom import Dataset

    items = []
    for dataset in datasets:
        item = Dataset()
        item.ReferencedSOPClassUID = dataset.SOPClassUID
        item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
        items.append(item)
    return items


def _refer_to_images(dataset: Dataset, frame_of_reference: str, written: Sequence[Dataset]) -> None:
    """Make a structure set's contours lie in the frame of reference of the study's images."""
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    frame.FrameOfReferenceUID = frame_of_reference
    study = frame.RTReferencedStudySequence[0]
    study.ReferencedSOPInstanceUID = dataset.StudyInstanceUID
    series = study.RTReferencedSeriesSequence[0]
    series.SeriesInstanceUID = written[0].SeriesInstanceUID
    series.ContourImageSequence = _references(written)
    for region in dataset.StructureSetROISequence:
        region.ReferencedFrameOfReferenceUID = frame_of_reference


def _blank(sop_class_uid: str) -> Dataset:
    """An empty object of one SOP class, in Explicit VR Little Endian."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.SOPClassUID = UID(sop_class_uid)
    dataset.Manufacturer = "DICOMweb gateway demonstration"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _content(
    kind: str, concept: tuple[str, str, str], value: object, relationship: str = "CONTAINS"
) -> Dataset:
    """A content item (PS3.3 §C.17.3): a TEXT, or an IMAGE that `value` refers to."""
    from pydicom import Dataset

    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = kind
    item.ConceptNameCodeSequence = codes(*concept)
    if kind == "TEXT":
        item.TextValue = value
    else:
        item.ReferencedSOPSequence = value
    return item


def _evidence(image: Dataset) -> list[Dataset]:
    """Items of a hierarchical SOP instance reference macro (PS3.3 §C.17.2.1) for one image."""
    from pydicom import Dataset

    series = Dataset()
    series.ReferencedSOPSequence = _references([image])
    series.SeriesInstanceUID = image.SeriesInstanceUID
    study = Dataset()
    study.ReferencedSeriesSequence = [series]
    study.StudyInstanceUID = image.StudyInstanceUID
    return [study]


def _report(written: Sequence[Dataset]) -> Dataset:
    """A Basic Text SR of two paragraphs."""
    dataset = _blank("1.2.840.10008.5.1.4.1.1.88.11")
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = codes("18748-4", "LN", "Diagnostic Imaging Report")
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PerformedProcedureCodeSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = _evidence(written[_KEY_IMAGE])
    image = _content("IMAGE", ("121080", "DCM", "Best illustration of finding"), [])
    image.ReferencedSOPSequence = _references([written[_KEY_IMAGE]])
    dataset.ContentSequence = [
        _content("TEXT", ("121071", "DCM", "Finding"), "Liver of normal size, no focal lesion."),
        _content("TEXT", ("121077", "DCM", "Conclusion"), "No sign of disease in the abdomen."),
        image,
    ]
    return dataset


def _key_images(written: Sequence[Dataset]) -> Dataset:
    """A Key Object Selection that flags one slice (PS3.3 §A.35.4)."""
    dataset = _blank("1.2.840.10008.5.1.4.1.1.88.59")
    image = written[_KEY_IMAGE]
    dataset.ReferencedRequestSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = _evidence(image)
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = codes("113000", "DCM", "Of Interest")
    dataset.ContinuityOfContent = "SEPARATE"
    reason = ("113012", "DCM", "Key Object Description")
    flagged = _content("IMAGE", reason, _references([image]))
    del flagged.ConceptNameCodeSequence
    dataset.ContentSequence = [_content("TEXT", reason, "The slice to show first."), flagged]
    return dataset


def _document(written: Sequence[Dataset]) -> Dataset:
    """An encapsulated PDF (PS3.3 §A.45.1) of one page."""
    dataset = _blank("1.2.840.10008.5.1.4.1.1.104.1")
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "NO"
    dataset.DocumentTitle = "Imaging report"
    dataset.ConceptNameCodeSequence = codes("18748-4", "LN", "Diagnostic Imaging Report")
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.SourceInstanceSequence = _references([written[_KEY_IMAGE]])
    content = pdf(["Imaging report", "Liver of normal size, no focal lesion."])
    dataset.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    dataset.EncapsulatedDocumentLength = len(content)
    return dataset


def _segmentation(written: Sequence[Dataset]) -> Dataset:
    """The liver segmentation of pydicom, thinned out to lie on the flagged slice."""
    import numpy as np
    from pydicom import Dataset

    dataset, image = _file("liver_1frame"), written[_KEY_IMAGE]
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    grid = bits[: dataset.Rows * dataset.Columns].reshape(dataset.Rows, dataset.Columns)
    thinned = grid[:: dataset.Rows // image.Rows, :: dataset.Columns // image.Columns]
    dataset.Rows, dataset.Columns = thinned.shape
    dataset.PixelData = np.packbits(thinned.ravel(), bitorder="little").tobytes()
    series = Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ReferencedInstanceSequence = _references([image])
    dataset.ReferencedSeriesSequence = [series]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].PixelSpacing = image.PixelSpacing
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = image.ImageOrientationPatient
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient = image.ImagePositionPatient
        derived = frame.DerivationImageSequence[0].SourceImageSequence[0]
        derived.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return dataset


def pdf(lines: Sequence[str]) -> bytes:
    """A one-page PDF 1.4 with one line of ASCII text each, without parentheses or backslashes."""
    text = b"BT /F1 14 Tf 72 760 Td 20 TL " + b" ".join(
        b"(" + line.encode("ascii") + b") Tj T*" for line in lines
    )
    stream = text + b" ET"
    bodies = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    written, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(bodies) + 1
    return written + (
        b"xref\n0 %d\n0000000000 65535 f \n%s"
        b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (count, table, count, len(written))
    )


_MAKERS: dict[str, Callable[[Sequence[Dataset]], Dataset]] = {
    "report": _report,
    "key_images": _key_images,
    "document": _document,
    "segmentation": _segmentation,
}
