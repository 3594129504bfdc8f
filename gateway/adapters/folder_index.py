"""The index of a folder of DICOM files: what its files are, found out once for each of them.

`FolderIndex.scan` looks at the folder and gives a `Snapshot`, which never changes. Files that have
not changed since the last scan (by size, time and inode) are not opened again.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import orjson
from pydicom import Dataset

from gateway.adapters import dicom_files
from gateway.adapters.dicom_files import UNREADABLE, NotDicom, Unusable
from gateway.adapters.folder_snapshot import (
    GROUPS,
    INSTANCE,
    PATIENT_AND_STUDY,
    SERIES,
    TAGS,
    Entry,
    Snapshot,
    Stamp,
    element,
    grouped,
)
from gateway.errors import NotFound
from gateway.rules import dicom_json as dj


class FolderIndex:
    """What is known of each file of the folder. Used by one thread only."""

    def __init__(self, folder: Path) -> None:
        self._root = str(folder.resolve())
        self._files: dict[str, tuple[Stamp, Entry | str | None]] = {}
        self._rows: dict[bytes, bytes] = {}

    def scan(self, is_stopped: Callable[[], bool]) -> Snapshot:
        """The folder as it is now; OSError when it cannot be listed at all."""
        before, self._files = self._files, {}
        links: list[tuple[str, str]] = []
        for path, found in self._walk("", before, links):
            if is_stopped():
                break
            known = before.get(path)
            if known is None or known[0] != found:
                known = (found, self._header(path, found))
            self._files[path] = known
        in_use = self._rows_in_use()
        self._rows = {row: row for row in self._rows if row in in_use}
        return self._snapshot(links)

    def _walk(
        self,
        folder: str,
        before: dict[str, tuple[Stamp, Entry | str | None]],
        refused: list[tuple[str, str]],
    ) -> Iterator[tuple[str, Stamp]]:
        """Path (relative) and stamp of every regular file below; links are named and not followed.

        A folder that cannot be listed just now keeps the files that it had.
        """
        try:
            with os.scandir(Path(self._root, folder)) as listed:
                items = sorted(listed, key=lambda item: item.name)
        except OSError as error:
            if not folder:
                raise
            refused.append((folder, f"folder cannot be listed ({error.strerror})"))
            kept = [(path, known[0]) for path, known in before.items() if _is_below(path, folder)]
            yield from kept
            return
        for item in items:
            path = f"{folder}/{item.name}" if folder else item.name
            if item.is_symlink():
                refused.append((path, "links are not followed"))
            elif item.is_dir(follow_symlinks=False):
                yield from self._walk(path, before, refused)
            elif item.is_file(follow_symlinks=False) and item.name.upper() != "DICOMDIR":
                stamp = _stamp_of(item)
                if stamp is not None:
                    yield path, stamp

    def _header(self, path: str, found: Stamp) -> Entry | str | None:
        """The file's entry; else why it is skipped, None for what is not DICOM."""
        try:
            with open_regular(self._root, path) as stream:
                opened = dicom_files.open_dicom(stream, is_named_dicom=_is_named_dicom(path))
                header = dicom_files.to_json(
                    _with_frame_anatomy(dicom_files.read(opened, TAGS)),
                    is_little_endian=opened.is_little_endian,
                    with_bulk=False,
                )
                return self._entry(path, found, header, opened.transfer_syntax)
        except (NotDicom, NotFound):
            return None
        except Unusable as unusable:
            return str(unusable)
        except UNREADABLE as error:
            return f"cannot be read ({type(error).__name__})"

    def _entry(self, path: str, found: Stamp, header: dj.Dataset, syntax: str) -> Entry:
        study, series, instance, sop_class = (
            dj.text(header, tag) or ""
            for tag in (
                dj.STUDY_INSTANCE_UID,
                dj.SERIES_INSTANCE_UID,
                dj.SOP_INSTANCE_UID,
                dj.SOP_CLASS_UID,
            )
        )
        if not all(dj.is_uid(uid) for uid in (study, series, instance, sop_class)):
            raise Unusable("lacks a legal UID")
        number = dj.values(header, dj.INSTANCE_NUMBER)
        own = _part(header, INSTANCE) | {"00083002": element("UI", syntax)}
        return Entry(
            path=path,
            stamp=found,
            study_uid=sys.intern(study),
            series_uid=sys.intern(series),
            instance_uid=instance,
            sop_class_uid=sys.intern(sop_class),
            transfer_syntax=sys.intern(syntax),
            number=number[0] if number and isinstance(number[0], int) else None,
            study_row=self._once(_part(header, PATIENT_AND_STUDY)),
            series_row=self._once(_part(header, SERIES)),
            instance_row=_written(own),
        )

    def _once(self, row: dj.Dataset) -> bytes:
        """The row written, the same object for equal rows."""
        written = _written(row)
        return self._rows.setdefault(written, written)

    def _rows_in_use(self) -> set[bytes]:
        entries = [known for _, known in self._files.values() if isinstance(known, Entry)]
        return {e.study_row for e in entries} | {e.series_row for e in entries}

    def _snapshot(self, refused: list[tuple[str, str]]) -> Snapshot:
        skipped = list(refused)
        found: dict[str, Entry] = {}
        for path, (_, known) in self._files.items():
            if isinstance(known, str):
                skipped.append((path, known))
            elif known is not None and known.instance_uid in found:
                skipped.append((path, f"same instance as {found[known.instance_uid].path}"))
            elif known is not None:
                found[known.instance_uid] = known
        return Snapshot(grouped(list(found.values())), tuple(sorted(skipped)))


def _with_frame_anatomy(header: Dataset) -> Dataset:
    """The header with Frame Anatomy (0020,9071), each once, in place of its functional groups."""
    found: dict[str, Dataset] = {}
    for tag in (int(g, 16) for g in GROUPS if int(g, 16) in header):
        with contextlib.suppress(*UNREADABLE):  # the instance is served without its anatomy
            for group in header[tag].value:
                for item in group.get("FrameAnatomySequence", ()):
                    found.setdefault(str(item), item)
        del header[tag]
    if found:
        header.FrameAnatomySequence = list(found.values())
    return header


def open_regular(root: str, path: str) -> BinaryIO:
    """The file at `path` below `root`; NotFound when it is gone, or is or lies behind a link.

    A pipe or device that took the file's place is never waited for.
    """
    whole = os.path.join(root, path)  # noqa: PTH118  os.path.realpath is compared as text
    if os.path.realpath(whole) != whole:
        raise NotFound("the file has moved")
    try:
        number = os.open(whole, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("the file is gone") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise NotFound("the file is gone")
    return os.fdopen(number, "rb")


def stamp(status: os.stat_result) -> Stamp:
    """What tells that a file has changed."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def _stamp_of(item: os.DirEntry[str]) -> Stamp | None:
    try:
        return stamp(item.stat(follow_symlinks=False))
    except OSError:  # gone since it was listed
        return None


def _part(header: dj.Dataset, tags: tuple[str, ...]) -> dj.Dataset:
    return {tag: header[tag] for tag in tags if tag in header}


def _written(row: dj.Dataset) -> bytes:
    """The row as JSON in no more memory than that; orjson's own answer keeps a larger buffer."""
    return bytes(memoryview(orjson.dumps(row)))


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def _is_named_dicom(path: str) -> bool:
    return path.lower().endswith((".dcm", ".dicom"))
