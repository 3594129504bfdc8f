"""The demonstration's files: real DICOM, the same every time, coherent with each other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pydicom
import pytest

from gateway import demo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("demo")
    demo.build(built)
    return built


@pytest.fixture(scope="module")
def datasets(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


def test_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    demo.build(tmp_path)

    assert _fingerprints(tmp_path) == _fingerprints(folder)


def test_every_instance_has_its_own_uid(datasets: list[pydicom.Dataset]) -> None:
    assert len({d.SOPInstanceUID for d in datasets}) == len(datasets) == 50
    assert len({d.StudyInstanceUID for d in datasets}) == 9


def test_meta_information_names_the_object_it_stands_before(
    datasets: list[pydicom.Dataset],
) -> None:
    for dataset in datasets:
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID


def test_one_patient_a_study_and_one_modality_a_series(datasets: list[pydicom.Dataset]) -> None:
    patients = {(d.StudyInstanceUID, str(d.PatientName), d.PatientID) for d in datasets}
    series = {(d.StudyInstanceUID, d.SeriesInstanceUID, d.Modality) for d in datasets}

    assert len(patients) == len({study for study, *_ in patients})
    assert len(series) == len({uid for _, uid, _ in series})


def test_names_are_written_in_many_scripts(datasets: list[pydicom.Dataset]) -> None:
    assert {str(d.PatientName) for d in datasets} == {
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "Müller^Jürgen",
        "O'Brien^Siobhan^Mary",
        "Nguyễn^Thị Lan",
        "Okafor^Chidi",
        "Lindqvist^Åsa",
    }


def test_modalities_and_transfer_syntaxes_are_many(datasets: list[pydicom.Dataset]) -> None:
    modalities = {d.Modality for d in datasets}
    syntaxes = {d.file_meta.TransferSyntaxUID for d in datasets}

    assert {"CT", "MR", "US", "SR", "KO", "SEG", "DOC", "ECG", "RTPLAN", "RTDOSE"} <= modalities
    assert len(syntaxes) >= 8


def test_images_of_a_series_differ(datasets: list[pydicom.Dataset]) -> None:
    axial = [d for d in datasets if d.get("SeriesDescription") == "Axial 1.0"]

    assert len({d.PixelData for d in axial}) == len(axial) == 8
    assert len({tuple(d.ImagePositionPatient) for d in axial}) == 8


def test_compressed_pixels_are_untouched(datasets: list[pydicom.Dataset]) -> None:
    loop = next(d for d in datasets if d.get("SeriesDescription") == "PLAX loop")
    original = Path(pydicom.__file__).parent / "data/test_files/examples_ybr_color.dcm"

    assert loop.PixelData == pydicom.dcmread(original).PixelData


@pytest.mark.parametrize("modality", ["SR", "KO", "SEG", "RTSTRUCT", "RTDOSE"])
def test_references_lead_to_objects_of_the_same_study(
    datasets: list[pydicom.Dataset], modality: str
) -> None:
    source = next(d for d in datasets if d.Modality == modality)
    in_study = {d.SOPInstanceUID for d in datasets if d.StudyInstanceUID == source.StudyInstanceUID}

    referenced = {
        e.value
        for e in source.iterall()
        if e.keyword == "ReferencedSOPInstanceUID" and e.value != source.StudyInstanceUID
    }

    assert referenced
    assert referenced <= in_study


def test_document_is_a_pdf(datasets: list[pydicom.Dataset]) -> None:
    document = next(d for d in datasets if d.Modality == "DOC")

    content = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]

    assert content.startswith(b"%PDF-1.4")
    assert content.endswith(b"%%EOF\n")
    start = int(content.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert content[start:].startswith(b"xref")


def test_settings_serve_the_folder_and_urls_start_at_the_gateway(folder: Path) -> None:
    settings = demo.settings(folder, 8123)

    urls = demo.urls(settings)

    assert settings.server.port == 8123
    assert list(settings.archives) == ["samples"]
    assert all(url.startswith("http://127.0.0.1:8123/") for _, url in urls)


def _fingerprints(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.dcm")
    }
