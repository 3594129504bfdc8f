"""The watching thread: starts once, scans when asked or when it is time, and always ends."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pydicom
import structlog

from gateway.adapters.folder_index import FolderIndex
from gateway.adapters.folder_snapshot import Snapshot
from gateway.adapters.folder_watch import FolderWatch

FILES = Path(pydicom.__file__).parent / "data/test_files"
LONG = 30


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "index-watched"]


def test_one_thread_scans_however_often_it_is_started(tmp_path: Path) -> None:
    watch = FolderWatch(FolderIndex(tmp_path), 0, "watched")

    assert threads() == []
    assert watch.start() is watch.start()
    watch.start().result(LONG)
    assert threads() == ["index-watched"]

    watch.close()
    assert threads() == []


def test_new_file_is_seen_after_a_rescan(tmp_path: Path) -> None:
    watch = FolderWatch(FolderIndex(tmp_path), 0, "watched")
    watch.start().result(LONG)
    shutil.copyfile(FILES / "CT_small.dcm", tmp_path / "ct.dcm")

    watch.rescan().result(LONG)

    assert len(watch.snapshot.studies) == 1
    watch.close()


def test_studies_are_told_of_whose_files_changed(tmp_path: Path) -> None:
    told: list[set[str]] = []
    watch = FolderWatch(
        FolderIndex(tmp_path), 0, "watched", lambda studies: told.append(set(studies))
    )
    one, other = tmp_path / "ct.dcm", tmp_path / "mr.dcm"
    shutil.copyfile(FILES / "CT_small.dcm", one)
    shutil.copyfile(FILES / "MR_small.dcm", other)
    watch.start().result(LONG)
    watch.rescan().result(LONG)
    assert told == []

    ct = pydicom.dcmread(one)
    ct.PixelData = bytes(len(ct.PixelData))
    ct.save_as(one)
    watch.rescan().result(LONG)
    assert told == [{ct.StudyInstanceUID}]

    other.unlink()
    watch.rescan().result(LONG)
    assert len(told) == 1, "a study that is gone is missed"
    watch.close()


def test_folder_is_looked_at_again_when_it_is_time(tmp_path: Path) -> None:
    index = _Counting(tmp_path)
    watch = FolderWatch(index, 0.01, "watched")
    watch.start()

    assert index.third.wait(LONG)

    watch.close()


def test_folder_that_goes_away_is_noticed_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    watch = FolderWatch(FolderIndex(folder), 0, "watched")

    watch.start().result(LONG)
    states = [watch.has_failed]
    folder.mkdir()
    watch.rescan().result(LONG)
    states.append(watch.has_failed)

    assert states == [True, False]
    watch.close()


def test_watch_that_never_started_closes(tmp_path: Path) -> None:
    watch = FolderWatch(FolderIndex(tmp_path), 0, "watched")

    watch.close()

    assert watch.start().cancelled()


class _Counting(FolderIndex):
    """An index that says when it was scanned for the third time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.third = threading.Event()
        self._scans = 0

    def scan(self, is_stopped: Callable[[], bool]) -> Snapshot:
        self._scans += 1
        if self._scans == 3:
            self.third.set()
        return super().scan(is_stopped)


def test_names_of_skipped_files_are_not_logged(tmp_path: Path) -> None:
    whole = (FILES / "CT_small.dcm").read_bytes()
    for name in ("DOE^JANE 1", "DOE^JANE 2"):
        (tmp_path / f"{name}.dcm").write_bytes(whole[:300])
    (tmp_path / "a.dcm").write_bytes(whole)
    (tmp_path / "b DOE.dcm").write_bytes(whole)
    watch = FolderWatch(FolderIndex(tmp_path), 0, "watched")
    with structlog.testing.capture_logs() as logged:
        watch.start().result(LONG)
    watch.close()
    assert sum(line["count"] for line in logged if line["event"] == "files skipped") == 3
    assert "DOE" not in repr(logged)
