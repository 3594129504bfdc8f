"""Rows of a folder at each level: counted over its files, filled from whichever file knows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom

from gateway.adapters.folder_index import FolderIndex
from gateway.rules import dicom_json as dj

FILES = Path(pydicom.__file__).parent / "data/test_files"


def copy(folder: Path, number: int, **attributes: object) -> str:
    dataset = pydicom.dcmread(FILES / "CT_small.dcm")
    dataset.SOPInstanceUID = f"1.2.3.{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(folder / f"{number}.dcm")
    return str(dataset.StudyInstanceUID)


def test_counts_are_those_of_the_files(tmp_path: Path) -> None:
    uid = copy(tmp_path, 1)
    copy(tmp_path, 2)
    copy(tmp_path, 3, SeriesInstanceUID="1.2.9", Modality="SR")

    row = FolderIndex(tmp_path).scan(lambda: False).study_row(uid)

    assert dj.values(row, dj.NUMBER_OF_STUDY_RELATED_SERIES) == [2]
    assert dj.values(row, dj.NUMBER_OF_STUDY_RELATED_INSTANCES) == [3]
    assert set(dj.values(row, dj.MODALITIES_IN_STUDY)) == {"CT", "SR"}


def test_attribute_that_one_file_lacks_comes_from_another(tmp_path: Path) -> None:
    uid = copy(tmp_path, 1, StudyDescription="")
    copy(tmp_path, 2, StudyDescription="Chest")

    row = FolderIndex(tmp_path).scan(lambda: False).study_row(uid)

    assert dj.text(row, dj.STUDY_DESCRIPTION) == "Chest"


def test_equal_rows_of_many_files_are_held_once(tmp_path: Path) -> None:
    uid = copy(tmp_path, 1)
    copy(tmp_path, 2)

    (entries,) = FolderIndex(tmp_path).scan(lambda: False).studies[uid].values()

    assert entries[0].study_row is entries[1].study_row
    assert entries[0].series_row is entries[1].series_row


def test_frames_tell_their_anatomy_once_and_functional_groups_are_not_kept(tmp_path: Path) -> None:
    knee = pydicom.Dataset()
    knee.FrameLaterality = "L"
    group = pydicom.Dataset()
    group.FrameAnatomySequence = [knee]
    uid = copy(tmp_path, 1, PerFrameFunctionalGroupsSequence=[group, group])

    snapshot = FolderIndex(tmp_path).scan(lambda: False)
    [(entry,)] = snapshot.studies[uid].values()
    row = snapshot.instance_row(entry)

    [item] = dj.values(row, dj.FRAME_ANATOMY_SEQUENCE)
    assert dj.text(item, dj.FRAME_LATERALITY) == "L"
    assert dj.PER_FRAME_FUNCTIONAL_GROUPS not in row


def test_folder_within_which_nothing_lies_has_no_studies(tmp_path: Path) -> None:
    shutil.copyfile(FILES / "README.txt", tmp_path / "README.txt")

    assert FolderIndex(tmp_path).scan(lambda: False).studies == {}
