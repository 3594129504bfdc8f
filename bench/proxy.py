"""A large instance through the gateway, through nginx and through node: CPU, throughput, memory.

Run: .venv/bin/python bench/proxy.py [rounds]. Needs nginx and node, as Debian packages them. The
archive is nginx with files; one raw socket reads. Side by side in one run, a transfer of each in
turn; CPU is that of the whole process tree (/proc/PID/task/*/schedstat). Medians of the rounds and
of the ratios within a round: compare the ratios, the seconds are this machine's.
"""

from __future__ import annotations

import getpass
import io
import json
import random
import re
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from tests.gateways import Gateway, archive
from tests.servers import Process

ROUNDS = 5
STUDY = "1.2.826.0.1.3680043.8.498.7"
SERIES = f"{STUDY}.1"
SIZES = {f"{SERIES}.1": 100 * 10**6, f"{SERIES}.2": 10**9}
MEASURED, LARGEST = SIZES
BOUNDARY = "0123456789abcdef"
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
READ_BYTES = 1 << 20
YARDSTICK = "nginx, 64 KB buffers"


def rest_path(instance: str) -> str:
    """The WADO-RS path of an instance."""
    return f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{instance}"


class Server(Process):
    """A server whose process is measured; ready when it answers 204."""

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise RuntimeError("it was not started")
        return self._process.pid

    def is_itself(self, pid: int) -> bool:
        """Whether a server answers at the port."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as one:
            one.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            return b" 204" in one.recv(64)


class Nginx(Server):
    """nginx with one worker and the given `server` block; `$port` is where it listens."""

    block = ""

    def command(self) -> Sequence[str]:
        """The command line; writes the configuration file that it names."""
        path = self.folder / "nginx.conf"
        paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{n}_temp_path {self.folder}/{n};\n" for n in paths)
        path.write_text(
            f"user {getpass.getuser()}; daemon off; worker_processes 1;\n"
            "pid nginx.pid; error_log stderr;\n"
            "events { worker_connections 64; }\n"
            f"http {{ {places} log_format asked '$uri'; sendfile on; tcp_nopush on;\n"
            f"server {{ listen 127.0.0.1:{self.port}; location = /ready {{ return 204; }}\n"
            f"{self.block} }} }}\n"
        )
        return [installed("nginx"), "-p", f"{self.folder}/", "-c", str(path), "-e", "stderr"]


class Archive(Nginx):
    """The archive: QIDO and WADO-RS answers as files."""

    @property
    def block(self) -> str:  # type: ignore[override]  # it depends on the folder
        """What it serves."""
        multipart = f'multipart/related; type=\\"application/dicom\\"; boundary={BOUNDARY}'
        return (
            f"root {self.folder}/files; access_log {self.folder}/asked.log asked;\n"
            "location / { types {} default_type application/dicom+json; try_files $uri.json =404; }"
            f'\nlocation ~ /instances/ {{ types {{}} default_type "{multipart}"; }}\n'
        )

    def fill(self) -> None:
        """Write the files; they take a good gigabyte."""
        root = self.folder / "files"
        series = root / f"dicom-web/studies/{STUDY}/series/{SERIES}"
        (series / "instances").mkdir(parents=True)
        for instance, size in SIZES.items():
            write_multipart(series / "instances" / instance, instance, size)
        study = {"0020000D": ui(STUDY)}
        of_series = study | {"0020000E": ui(SERIES), "00080060": cs("CT")}
        rows = [of_series | {"00080016": ui(CTImageStorage), "00080018": ui(i)} for i in SIZES]
        base = root / "dicom-web"
        for path, answer in {
            base / "studies.json": [study],
            base / f"studies/{STUDY}/series.json": [of_series],
            base / f"studies/{STUDY}/instances.json": rows,
            series / "instances.json": rows,
        }.items():
            path.write_text(json.dumps(answer))

    def asked(self, instance: str) -> int:
        """How often an instance was asked for so far."""
        return (self.folder / "asked.log").read_text().split("\n").count(rest_path(instance))


class NginxProxy(Nginx):
    """nginx passing on, with the given buffers."""

    def __init__(self, folder: Path, upstream: int, buffers: str) -> None:
        super().__init__(folder)
        self.block = (
            f"access_log off; location / {{ proxy_pass http://127.0.0.1:{upstream};\n"
            f"proxy_http_version 1.1; proxy_set_header Connection ''; {buffers} }}"
        )


class NodePipe(Server):
    """node passing on by stream.pipe."""

    PROGRAM = """
    const http = require('http');
    const [upstream, port] = process.argv.slice(1).map(Number);
    http.createServer((request, response) => {
      const {url: path, method, headers} = request;
      http.request({port: upstream, host: '127.0.0.1', path, method, headers}, answer => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      }).end();
    }).listen(port, '127.0.0.1');
    """

    def __init__(self, folder: Path, upstream: int) -> None:
        super().__init__(folder)
        self.upstream = upstream

    def command(self) -> Sequence[str]:
        """The command line."""
        return [installed("node"), "-e", self.PROGRAM, str(self.upstream), str(self.port)]


def installed(name: str) -> str:
    """The path of a program; ends the run with what to do when it is missing."""
    path = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if path is None:
        package = {"node": "nodejs"}.get(name, name)
        raise SystemExit(f"{name} is missing; apt-get install --no-install-recommends {package}")
    return path


def ui(value: str) -> dict[str, Any]:
    """A UID as DICOM JSON has it."""
    return {"vr": "UI", "Value": [str(value)]}


def cs(value: str) -> dict[str, Any]:
    """A code string as DICOM JSON has it."""
    return {"vr": "CS", "Value": [value]}


def write_multipart(path: Path, instance: str, size: int) -> None:
    """A multipart answer with one DICOM file of `size` bytes of pixels: the same noise repeated."""
    head = (
        f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n"
        f"Content-Length: {len(dicom_head(instance, size)) + size}\r\n\r\n"
    ).encode()
    noise = random.Random(size).randbytes(10**6)  # noqa: S311 - nobody is to guess it
    with path.open("wb") as file:
        file.write(head + dicom_head(instance, size))
        for _ in range(size // len(noise)):
            file.write(noise)
        file.write(f"\r\n--{BOUNDARY}--\r\n".encode())


def dicom_head(instance: str, size: int) -> bytes:
    """A DICOM file up to the first byte of its pixel data."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, instance
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue() + b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One transfer: seconds of the clock, seconds of CPU, bytes."""

    wall: float
    cpu: float
    size: int

    @property
    def cpu_per_gb(self) -> float:
        """CPU seconds for a gigabyte."""
        return self.cpu / self.size * 1e9

    @property
    def throughput(self) -> float:
        """Bytes in a second."""
        return self.size / self.wall


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process tree so far."""
    stats = (s for one in tree(pid) for s in Path(f"/proc/{one}/task").glob("*/schedstat"))
    return sum(int(s.read_text().split()[0]) for s in stats) / 1e9


def memory(pid: int, field: str) -> int:
    """Bytes of a process tree: VmRSS now, or VmHWM at its highest since `forget_peak`."""
    texts = (Path(f"/proc/{one}/status").read_text() for one in tree(pid))
    found = (re.search(rf"^{field}:\s*(\d+) kB", text, re.MULTILINE) for text in texts)
    return sum(int(f[1]) * 1024 for f in found if f is not None)


def forget_peak(pid: int) -> None:
    """Let VmHWM start anew."""
    for one in tree(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def read(port: int, instance: str) -> int:
    """Bytes that a server sends for an instance; ValueError unless the answer is a whole one."""
    request = (
        f"GET {rest_path(instance)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Accept: {ACCEPT}\r\nConnection: close\r\n\r\n"
    )
    buffer = bytearray(READ_BYTES)
    view = memoryview(buffer)
    start, end, size = b"", b"", 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
        one.sendall(request.encode())
        while count := one.recv_into(buffer):
            if size == 0:
                start = bytes(view[:16])
            end = (end + bytes(view[max(count - 64, 0) : count]))[-64:]
            size += count
    is_whole = start.startswith(b"HTTP/1.1 200 ") and re.search(rb"--\r\n(\r\n0\r\n\r\n)?$", end)
    if not is_whole or size < SIZES[instance]:
        raise ValueError(f"{start!r} … {end!r}: {size} bytes")
    return size


def transfer(pid: int, port: int, instance: str) -> Transfer:
    """One measured transfer."""
    cpu, started = cpu_seconds(pid), time.perf_counter()
    size = read(port, instance)
    wall = time.perf_counter() - started
    return Transfer(wall=wall, cpu=cpu_seconds(pid) - cpu, size=size)


def growth(pid: int, port: int) -> int:
    """How many bytes more memory than before the largest transfer takes at its peak."""
    before = memory(pid, "VmRSS")
    forget_peak(pid)
    read(port, LARGEST)
    return memory(pid, "VmHWM") - before


def candidates(folder: Path, upstream: Archive) -> Mapping[str, Gateway | Server]:
    """What is compared, by name."""
    base = f"http://127.0.0.1:{upstream.port}/dicom-web"
    large = "proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;"
    return {
        "gateway": Gateway(folder / "gateway", {"archive": archive(base)}),
        YARDSTICK: NginxProxy(
            folder / "nginx-64k", upstream.port, f"{large} proxy_max_temp_file_size 0;"
        ),
        "nginx, its defaults": NginxProxy(
            folder / "nginx", upstream.port, "proxy_max_temp_file_size 0;"
        ),
        "node pipe": NodePipe(folder / "node", upstream.port),
    }


def main() -> None:
    """Prints the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = Archive(folder / "archive")
        upstream.fill()
        stack.enter_context(upstream)
        running = candidates(folder, upstream)
        for one in running.values():
            stack.enter_context(one)
            read(one.port, MEASURED)
        asked = upstream.asked(MEASURED)
        done = [
            {name: transfer(one.pid, one.port, MEASURED) for name, one in running.items()}
            for _ in range(rounds)
        ]
        if upstream.asked(MEASURED) - asked != rounds * len(running):
            raise SystemExit("not every transfer came from the archive")
        grown = {name: growth(one.pid, one.port) for name, one in running.items()}
    report(done, grown)


def report(done: Sequence[Mapping[str, Transfer]], grown: Mapping[str, int]) -> None:
    """The table, and what of the others the gateway takes."""
    write = sys.stdout.write
    size = SIZES[MEASURED] // 10**6
    write(f"one instance of {size} MB, {len(done)} rounds; memory: the peak for 1 GB\n")
    write(
        f"{'':22}{'CPU s/GB':>10}{'MB/s':>8}{'growth':>12}   gateway: of its CPU and throughput\n"
    )
    for name in grown:
        cpu = statistics.median(r[name].cpu_per_gb for r in done)
        speed = statistics.median(r[name].throughput for r in done) / 1e6
        of_cpu = statistics.median(r["gateway"].cpu_per_gb / r[name].cpu_per_gb for r in done)
        of_speed = statistics.median(r["gateway"].throughput / r[name].throughput for r in done)
        write(
            f"{name:22}{cpu:10.2f}{speed:8.0f}{grown[name] / 1e6:9.1f} MB"
            f"   {of_cpu:.2f} and {of_speed:.2f}\n"
        )


if __name__ == "__main__":
    main()
