"""The index survives whatever lies in a folder, names what it skips, and opens nothing strange."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pydicom
import pytest

from gateway.adapters import dicom_files
from gateway.adapters.file_readers import FileReaders
from gateway.adapters.folder_index import FolderIndex, open_regular
from gateway.adapters.folder_snapshot import Snapshot
from gateway.errors import NotFound
from gateway.rules import dicom_json as dj
from tests import hostile_files

DATA = Path(pydicom.__file__).parent / "data"
FILES = DATA / "test_files"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    dicom_files.hush()


def scan(folder: Path) -> Snapshot:
    return FolderIndex(folder).scan(lambda: False)


def instances(snapshot: Snapshot) -> int:
    return sum(len(e) for series in snapshot.studies.values() for e in series.values())


def test_no_file_of_a_messy_collection_stops_the_index() -> None:
    snapshot = scan(DATA)

    assert instances(snapshot) > 100
    assert dict(snapshot.skipped)["test_files/UN_sequence.dcm"] == "lacks a legal UID"


def test_first_of_several_files_of_one_instance_wins(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        shutil.copyfile(FILES / "CT_small.dcm", tmp_path / name)

    snapshot = scan(tmp_path)

    assert instances(snapshot) == 1
    assert snapshot.skipped == (("b.dcm", "same instance as a.dcm"),)


def test_other_files_are_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "empty.dcm").touch()
    shutil.copyfile(FILES / "dicomdirtests/DICOMDIR", tmp_path / "DICOMDIR")
    shutil.copyfile(FILES / "dicomdirtests/DICOMDIR", tmp_path / "renamed")

    snapshot = scan(tmp_path)

    assert (instances(snapshot), snapshot.skipped) == (0, ())


@pytest.mark.parametrize("is_folder", [True, False], ids=["folder", "file"])
def test_links_are_named_and_not_followed(tmp_path: Path, is_folder: bool) -> None:  # noqa: FBT001
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    shutil.copyfile(FILES / "CT_small.dcm", outside / "ct.dcm")
    (inside / "link").symlink_to(outside if is_folder else outside / "ct.dcm")

    snapshot = scan(inside)

    assert (instances(snapshot), snapshot.skipped) == (0, (("link", "links are not followed"),))


def test_pipes_are_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")

    assert instances(scan(tmp_path)) == 0
    with pytest.raises(NotFound):
        open_regular(str(tmp_path), "pipe.dcm")


@pytest.mark.parametrize("path", ["../secret", "link/ct.dcm", "gone.dcm"])
def test_nothing_outside_the_folder_is_opened(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("secret")
    (inside / "link").symlink_to(FILES)

    with pytest.raises(NotFound):
        open_regular(str(inside), path)


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    shutil.copyfile(FILES / "CT_small.dcm", tmp_path / "ct.dcm")
    index = FolderIndex(tmp_path)
    (first,) = index.scan(lambda: False).studies.values()

    (second,) = index.scan(lambda: False).studies.values()

    assert next(iter(first.values()))[0] is next(iter(second.values()))[0]


def test_changed_and_removed_files_are_noticed(tmp_path: Path) -> None:
    shutil.copyfile(FILES / "CT_small.dcm", tmp_path / "one.dcm")
    shutil.copyfile(FILES / "MR_small.dcm", tmp_path / "two.dcm")
    index = FolderIndex(tmp_path)
    assert len(index.scan(lambda: False).studies) == 2

    shutil.copyfile(FILES / "rtplan.dcm", tmp_path / "one.dcm")
    (tmp_path / "two.dcm").unlink()

    (study,) = index.scan(lambda: False).studies
    assert study == pydicom.dcmread(FILES / "rtplan.dcm").StudyInstanceUID


def test_odd_values_are_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(FILES / "CT_small.dcm")
    dataset.InstanceNumber = 2**31
    dataset.SeriesNumber = None
    dataset.save_as(tmp_path / "large.dcm")
    content = (tmp_path / "large.dcm").read_bytes()
    (tmp_path / "large.dcm").write_bytes(content.replace(b"1CT1", b"\xff\xfe\x00\x1b"))

    snapshot = scan(tmp_path)

    (series,) = next(iter(snapshot.studies.values())).values()
    assert series[0].number == 2**31
    assert snapshot.skipped == ()


def test_several_character_sets_in_one_name_are_decoded() -> None:
    snapshot = scan(DATA / "charset_files")

    names = {
        str(value)
        for study in snapshot.studies
        for value in dj.values(snapshot.study_row(study), dj.PATIENT_NAME)
    }

    assert (
        "{'Alphabetic': 'Yamada^Tarou', 'Ideographic': '山田^太郎', 'Phonetic': 'やまだ^たろう'}"
        in names
    )
    assert "{'Alphabetic': 'Buc^Jérôme'}" in names


def test_scan_that_is_stopped_ends(tmp_path: Path) -> None:
    shutil.copyfile(FILES / "CT_small.dcm", tmp_path / "ct.dcm")

    assert FolderIndex(tmp_path).scan(lambda: True).studies == {}


def test_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        scan(tmp_path / "nowhere")


def test_a_file_that_costs_its_reader_is_skipped_and_not_read_again_until_it_changes(
    tmp_path: Path,
) -> None:
    for number in range(5):
        dataset = pydicom.dcmread(FILES / "CT_small.dcm")
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        dataset.save_as(tmp_path / f"{number}.dcm")
    (tmp_path / "2.dcm").write_bytes(hostile_files.many_items(400_000))
    lost: list[str] = []
    index = FolderIndex(tmp_path, FileReaders(cpu_seconds=1.0, lost=lost.append))

    first, second = (index.scan(lambda: False) for _ in range(2))
    shutil.copyfile(FILES / "MR_small.dcm", tmp_path / "2.dcm")
    third = index.scan(lambda: False)

    assert [instances(s) for s in (first, second, third)] == [4, 4, 5]
    assert first.skipped == second.skipped
    assert first.skipped == (("2.dcm", "costs more time or memory to read than it may"),)
    assert third.skipped == ()
    assert lost == ["crash"]


def test_a_huge_value_is_no_harm(tmp_path: Path) -> None:
    whole = (FILES / "CT_small.dcm").read_bytes()
    at = whole.index(b"\x08\x00\x16\x00UI", 200)
    size = 3 << 30
    with (tmp_path / "huge.dcm").open("wb") as file:
        file.write(whole[:at] + b"\x08\x00\x08\x00UT\0\0" + size.to_bytes(4, "little"))
        file.truncate(size + 1000)

    snapshot = scan(tmp_path)

    assert snapshot.skipped == (("huge.dcm", "cannot be read (MemoryError)"),)
