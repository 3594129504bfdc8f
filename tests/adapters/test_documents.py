"""What is no image, read as the document, text or video that it holds."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from gateway.adapters import documents
from gateway.adapters.frame_source import Undrawable
from gateway.adapters.thumbnail import CannotDraw, PictureWorker
from tests.dicom import part10_file
from tests.samples import Sample

MPEG4 = "1.2.840.10008.1.2.4.102"
ALL = ("application/pdf", "text/html", "text/plain", "video/mp4", "video/mpeg")


def file(syntax: str = "1.2.840.10008.1.2.1", **elements: object) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(part10_file("1.2.3.4.1")))
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = UID(syntax).is_encapsulated
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def item(**elements: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def concept(meaning: str) -> list[Dataset]:
    return [item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning=meaning)]


def measured() -> Dataset:
    unit = [item(CodeValue="mm", CodingSchemeDesignator="UCUM", CodeMeaning="millimetre")]
    value = [item(NumericValue="4.2", MeasurementUnitsCodeSequence=unit)]
    return item(
        ValueType="NUM", ConceptNameCodeSequence=concept("Length"), MeasuredValueSequence=value
    )


def report(text: str = "Nothing <b>seen</b>") -> bytes:
    finding = item(
        ValueType="TEXT",
        ConceptNameCodeSequence=concept("Finding"),
        TextValue=text,
        ContentSequence=[measured()],
    )
    return file(
        ConceptNameCodeSequence=concept("CT <Report>"),
        PatientName="Doe^Jane",
        ContentSequence=[finding],
    )


def test_a_pdf_comes_as_it_was_put_in_without_padding() -> None:
    pdf = b"%PDF-1.4 odd!"
    padded = file(EncapsulatedDocument=pdf, MIMETypeOfEncapsulatedDocument="application/pdf")
    assert documents.read(padded, ALL) == (pdf, "application/pdf")
    told = file(EncapsulatedDocument=pdf + b"\0\0", EncapsulatedDocumentLength=len(pdf))
    assert documents.read(told, ALL) == (pdf, "application/pdf")


@pytest.mark.parametrize("content", [b"<html><script>", b"MZ\x90\x00"])
def test_another_document_is_not_shown_whatever_it_says_it_is(content: bytes) -> None:
    with pytest.raises(Undrawable):
        documents.read(file(EncapsulatedDocument=content), ALL)


def test_a_report_is_text_line_by_line() -> None:
    text, kind = documents.read(report(), ("text/plain",))
    assert kind == "text/plain"
    assert text.decode().splitlines() == [
        "CT <Report>",
        "  Patient: Doe Jane",
        "  Finding: Nothing <b>seen</b>",
        "    Length: 4.2 mm",
    ]


def test_a_report_in_html_is_escaped() -> None:
    page, kind = documents.read(report("<script>alert(1)</script>"), ("text/html", "text/plain"))
    assert kind == "text/html"
    assert b"<script>" not in page
    assert b"&lt;script&gt;" in page
    assert b"CT &lt;Report&gt;" in page


@pytest.mark.parametrize(
    ("stream", "kind"),
    [(b"\0\0\0\x18ftypmp42....", "video/mp4"), (b"\x00\x00\x01\xba......", "video/mpeg")],
)
def test_a_video_is_the_file_that_was_put_in(stream: bytes, kind: str) -> None:
    assert documents.read(file(MPEG4, PixelData=encapsulate([stream])), ALL) == (stream, kind)
    with pytest.raises(Undrawable):
        documents.read(file(MPEG4, PixelData=encapsulate([stream])), ("application/pdf",))


def test_what_holds_nothing_to_read_says_so() -> None:
    for content in (part10_file("1.2.3.4.1"), file(PixelData=b"\0\0")):
        with pytest.raises(Undrawable):
            documents.read(content, ALL)
    with pytest.raises(Undrawable):
        documents.read(report(), ("application/pdf",))


@pytest.fixture
async def worker() -> AsyncIterator[PictureWorker]:
    made = PictureWorker(processes=1)
    yield made
    await made.close()


async def test_documents_are_read_in_a_worker_that_garbage_does_not_end(
    worker: PictureWorker, samples: tuple[Sample, ...]
) -> None:
    stored = next(s for s in samples if s.modality == "DOC").path.read_bytes()
    with pytest.raises(CannotDraw):
        await worker.read(b"\0" * 128 + b"DICM" + b"\xff" * 1000, ALL)
    found = await worker.read(stored, ALL)
    assert found.media_type == "application/pdf"
    assert found.content.startswith(b"%PDF-")
