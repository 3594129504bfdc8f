"""An archive that answers QIDO-RS as Orthanc lays it out, as slowly as wished; it counts.

Its studies have the same series, and instances of the same UIDs; the first may be of another size.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.build import SERIES_UIDS, STUDY, as_orthanc, row
from gateway.rules import dicom_json as dj
from tests.servers import Process

_JSON = "application/dicom+json"
_DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How many studies of how many instances; `first` is that of the first where it is another.

    `seconds`: how long it takes to search for instances. `encoding` of its bodies.
    """

    studies: int
    instances: int
    first: int | None = None
    seconds: float = 0.0
    encoding: str = "identity"


def study_uid(number: int) -> str:
    """The UID of a study, as long as those in the rows."""
    return f"{STUDY[:-_DIGITS]}{number:0{_DIGITS}}"


class StubArchive(Process):
    """The archive as a process of its own."""

    def __init__(self, folder: Path, held: Held) -> None:
        super().__init__(folder)
        self._held = held

    @property
    def url(self) -> str:
        """Base of QIDO-RS."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """The command line."""
        return [sys.executable, __file__, str(self.port), json.dumps(asdict(self._held))]

    def is_itself(self, pid: int) -> bool:
        """Whether it answers."""
        return self.asked()["pid"] == pid

    def asked(self) -> Counter[str]:
        """How often it was asked, by level; `whole` counts the instances that went out whole."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as one:
            one.request("GET", "/asked")
            return Counter(json.loads(one.getresponse().read()))


class _Server(ThreadingHTTPServer):
    """What the process runs; in gzip, bodies are there before they are asked."""

    request_queue_size = 128

    def __init__(self, port: int, pid: int, held: Held) -> None:
        self.held = held
        self.counts = Counter(pid=pid)
        self.lock = threading.Lock()
        self._first = _levels(held.first or held.instances)
        self._others = _levels(held.instances)
        self._packed = {
            (number, level): self._body(number, level)
            for number in range(held.studies)
            for level in self._others
            if held.encoding == "gzip"
        }
        super().__init__(("127.0.0.1", port), _Answer)

    def count(self, what: str) -> None:
        """One more."""
        with self.lock:
            self.counts[what] += 1

    def answer(self, path: str) -> bytes:
        """The body for a path."""
        if path == "/asked":
            return json.dumps(self.counts).encode()
        level = path.partition("?")[0].rsplit("/", 1)[-1]
        self.count(level)
        start = path.find(STUDY[:-_DIGITS])
        if start < 0:
            asked = parse_qs(urlsplit(path).query)
            return self._list(*(int(asked.get(name, ["0"])[0]) for name in ("offset", "limit")))
        number = int(path[start + len(STUDY) - _DIGITS :][:_DIGITS])
        if level == "instances":
            time.sleep(self.held.seconds)
        return self._packed.get((number, level)) or self._body(number, level)

    def _list(self, offset: int, limit: int) -> bytes:
        """The rows of studies, in an encoding that everybody takes."""
        numbers = range(self.held.studies)[offset : offset + limit if limit else None]
        bodies = [self._plain(number, "studies").strip() for number in numbers]
        return b"[" + b",".join(body.strip(b"[]") for body in bodies) + b"]"

    def _body(self, number: int, level: str) -> bytes:
        body = self._plain(number, level)
        return gzip.compress(body, 1) if self.held.encoding == "gzip" else body

    def _plain(self, number: int, level: str) -> bytes:
        template = (self._others if number else self._first)[level]
        return template.replace(STUDY.encode(), study_uid(number).encode())


class _Answer(BaseHTTPRequestHandler):
    """One connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Any path."""
        body = self.server.answer(self.path)
        self.send_response(200)
        self.send_header("Content-Type", _JSON)
        self.send_header("Content-Length", str(len(body)))
        if body[:2] == b"\x1f\x8b":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if "/instances" in self.path:
            self.server.count("whole")

    def log_message(self, *args: Any) -> None:
        """Nothing."""


def _levels(instances: int) -> dict[str, bytes]:
    """The rows of a study at each level, as bodies."""
    rows = [row(n) for n in range(instances)]
    series = min(len(SERIES_UIDS), instances)
    counts = {
        dj.NUMBER_OF_STUDY_RELATED_SERIES: series,
        dj.NUMBER_OF_STUDY_RELATED_INSTANCES: instances,
    }
    modalities = {dj.MODALITIES_IN_STUDY: {"Value": ["CT"], "vr": "CS"}}
    counted = {tag: {"Value": [count], "vr": "IS"} for tag, count in counts.items()}
    return {
        "studies": as_orthanc([rows[0] | counted | modalities]),
        "series": as_orthanc(rows[:series]),
        "instances": as_orthanc(rows),
    }


def main() -> None:
    """Is the archive."""
    port, held = sys.argv[1:]
    _Server(int(port), os.getpid(), Held(**json.loads(held))).serve_forever()


if __name__ == "__main__":
    main()
