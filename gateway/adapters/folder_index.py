"""The index of a folder of DICOM files: what its files are, found out once for each of them.

They are read in a process of their own; what costs it is skipped until it changes.

`FolderIndex.scan` looks at the folder and gives a `Snapshot`, which never changes. Files that have
not changed since the last scan (by size, time and inode) are not opened again.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.adapters.file_readers import FileReaders, Job
from gateway.adapters.file_worker import CannotRead, ReaderLate, Told
from gateway.adapters.folder_snapshot import Entry, Snapshot, Stamp, grouped
from gateway.errors import NotFound
from gateway.rules import dicom_json as dj


class FolderIndex:
    """What is known of each file of the folder. Used by one thread only."""

    def __init__(self, folder: Path, readers: FileReaders | None = None) -> None:
        self._root = str(folder.resolve())
        self._readers = FileReaders() if readers is None else readers
        self._files: dict[str, tuple[Stamp | None, Entry | str | None]] = {}
        self._rows: dict[bytes, bytes] = {}

    def scan(self, is_stopped: Callable[[], bool]) -> Snapshot:
        """The folder as it is now; OSError when it cannot be listed at all, or nothing be read."""
        before, self._files = self._files, {}
        links: list[tuple[str, str]] = []
        jobs = self._jobs(before, links, is_stopped)
        for path, told in self._readers.each(jobs):
            stamp, _ = self._files[path]
            if stamp is not None:
                self._files[path] = self._known(path, stamp, told)
        in_use = self._rows_in_use()
        self._rows = {row: row for row in self._rows if row in in_use}
        return self._snapshot(links)

    def _jobs(
        self,
        before: dict[str, tuple[Stamp | None, Entry | str | None]],
        links: list[tuple[str, str]],
        is_stopped: Callable[[], bool],
    ) -> Iterator[Job]:
        """The files that are new or have changed; the others are as they were."""
        for path, found in self._walk("", before, links):
            if is_stopped():
                return
            known = before.get(path)
            if known is not None and known[0] == found:
                self._files[path] = known
                continue
            self._files[path] = (found, None)
            try:
                file = open_regular(self._root, path)
            except NotFound:
                continue
            except OSError as error:
                self._files[path] = (found, f"cannot be read ({type(error).__name__})")
                continue
            order = {"work": "index", "is_named_dicom": _is_named_dicom(path)}
            yield Job(name=path, order=order, file=file)

    def _walk(
        self,
        folder: str,
        before: dict[str, tuple[Stamp | None, Entry | str | None]],
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
            for path, (known, _) in before.items():
                if known is not None and _is_below(path, folder):
                    yield path, known
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

    def _known(
        self, path: str, found: Stamp, told: Told | CannotRead
    ) -> tuple[Stamp | None, Entry | str | None]:
        """The file's entry; else why it is skipped, None for what is not DICOM.

        Without the stamp where it is worth another try.
        """
        if isinstance(told, CannotRead):
            return None if isinstance(told, ReaderLate) else found, str(told)
        header, content = told
        reason = header.get("reason")
        if header.get("error") == "unreadable":
            return found, f"cannot be read ({reason})"
        if "error" in header:
            return found, reason
        try:
            return found, self._entry(path, found, header, bytes(content))
        except (LookupError, TypeError, ValueError):
            return found, "cannot be read"

    def _entry(self, path: str, found: Stamp, told: dict[str, Any], content: bytes) -> Entry:
        """A file by what a process tells of it, which is believed no further than its UIDs."""
        study, series, instance, sop_class, syntax = (
            sys.intern(str(uid)) for uid in (*told["uids"], told["transfer_syntax"])
        )
        if not all(dj.is_uid(uid) for uid in (study, series, instance, sop_class, syntax)):
            raise ValueError("no UID")
        number = told["number"]
        study_row, series_row, instance_row, prefix = _cut(content, told["sizes"])
        return Entry(
            path=path,
            stamp=found,
            study_uid=study,
            series_uid=series,
            instance_uid=instance,
            sop_class_uid=sop_class,
            transfer_syntax=syntax,
            number=number if isinstance(number, int) else None,
            prefix=prefix,
            study_row=self._once(study_row),
            series_row=self._once(series_row),
            instance_row=instance_row,
        )

    def _once(self, row: bytes) -> bytes:
        """The row, the same object for equal rows."""
        return self._rows.setdefault(row, row)

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


def open_regular(root: str, path: str) -> int:
    """A descriptor of the file at `path` below `root`.

    NotFound when it is gone, or is or lies behind a link.

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
    return number


def stamp(status: os.stat_result) -> Stamp:
    """What tells that a file has changed."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def _stamp_of(item: os.DirEntry[str]) -> Stamp | None:
    try:
        return stamp(item.stat(follow_symlinks=False))
    except OSError:  # gone since it was listed
        return None


def _cut(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    parts, at = [], 0
    for size in sizes:
        parts.append(content[at : at + size])
        at += size
    return parts


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def _is_named_dicom(path: str) -> bool:
    return path.lower().endswith((".dcm", ".dicom"))
