"""Studies through whose series a viewer scrolls, one instance of a single frame after the other."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydicom.uid import CTImageStorage

from bench.ground.load import GROUP, GROUP_SIZE, NUMBER, get
from bench.ground.servers import File, Nginx
from bench.ground.study import BASE, JSON, STUDY

SERIES = 6
"""Those of a study, each of `GROUP_SIZE` instances."""
INSTANCES = SERIES * GROUP_SIZE


def study_uid(number: int) -> str:
    """The UID of one of the studies."""
    return f"{STUDY}.{number}"


def first_frames(number: int, **fields: str) -> bytes:
    """Requests for the first frames of a study's instances, one after the other."""
    study, group, instance = study_uid(number), GROUP.decode(), NUMBER.decode()
    series = f"{study}.1{group}"
    path = f"{BASE}/studies/{study}/series/{series}/instances/{series}.1{instance}/frames/1"
    return get(path, **fields)


class ScrollArchive(Nginx):
    """An archive with such studies, which counts what it is asked for."""

    def __init__(self, folder: Path, studies: int, frame: File) -> None:
        super().__init__(folder)
        files = folder / "files"
        files.mkdir(parents=True)
        rows = {f"{BASE}/studies": [_study(study_uid(n)) for n in range(studies)]}
        for uid in map(study_uid, range(studies)):
            rows[f"{BASE}/studies/{uid}/series"] = [_series(uid, n) for n in range(SERIES)]
        for number, (path, found) in enumerate(rows.items()):
            (files / f"rows-{number}").write_text(json.dumps(found))
            self.locations += f"location = {path} {_given(files / f'rows-{number}', JSON)}\n"
        for uid in map(study_uid, range(studies)):
            self.locations += "".join(_instances(files, uid, n) for n in range(SERIES))
        self.locations += f"location ~ /frames/ {_given(frame.path, frame.content_type)}\n"
        self.locations += f"access_log {folder}/asked.log asked;\n"

    def asked(self) -> int:
        """How many frames were asked for so far."""
        return sum("/frames/" in line for line in self._lines())

    def asked_besides(self) -> int:
        """How often anything else was asked for."""
        return sum("/frames/" not in line and line != "/ready" for line in self._lines())

    def _lines(self) -> Iterable[str]:
        return (self.folder / "asked.log").read_text().splitlines()


def _given(path: Path, content_type: str) -> str:
    quoted = content_type.replace('"', '\\"')
    return f'{{ types {{}} alias {path}; default_type "{quoted}"; }}'


def _instances(files: Path, study: str, number: int) -> str:
    """The instances of a series; of one that is asked for by its UID, that alone."""
    series = f"{study}.1{number}"
    first = number * GROUP_SIZE
    rows = [
        _instance(study, series, f"{series}.1{n:08d}") for n in range(first, first + GROUP_SIZE)
    ]
    (files / series).write_text(json.dumps(rows))
    one = json.dumps([_instance(study, series, "$arg_SOPInstanceUID")])
    return (
        f"location = {BASE}/studies/{study}/series/{series}/instances {{\n"
        f"types {{}} default_type {JSON}; if ($arg_SOPInstanceUID) {{ return 200 '{one}'; }}\n"
        f"alias {files / series}; }}\n"
    )


def _study(uid: str) -> dict[str, Any]:
    counts = {"00201206": _is(SERIES), "00201208": _is(INSTANCES)}
    return {"0020000D": _of("UI", uid), **counts}


def _series(study: str, number: int) -> dict[str, Any]:
    uids = {"0020000D": _of("UI", study), "0020000E": _of("UI", f"{study}.1{number}")}
    return {**uids, "00080060": _of("CS", "CT"), "00201209": _is(GROUP_SIZE)}


def _instance(study: str, series: str, uid: str) -> dict[str, Any]:
    uids = {"0020000D": _of("UI", study), "0020000E": _of("UI", series), "00080018": _of("UI", uid)}
    return {**uids, "00080016": _of("UI", str(CTImageStorage)), "00280010": _of("US", 64)}


def _of(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _is(value: int) -> dict[str, Any]:
    return _of("IS", value)
