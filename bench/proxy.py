"""Large bodies through the gateway, through nginx and through node: CPU, throughput, memory.

Run: python -m bench.proxy [rounds], or `make bench`. Needs nginx and node, as Debian packages them.
The archive is nginx with files; one raw socket reads.
"""

from __future__ import annotations

import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.ground import study
from bench.ground.processes import cpu_seconds, forget_peak, memory
from bench.ground.servers import LARGE_BUFFERS, FileArchive, NginxProxy, NodePipe, Server
from bench.ground.study import Held
from bench.ground.sums import Result, median, ratio, rounds, rounds_asked, tell
from tests.gateways import Gateway, archive

ROUNDS = 7
LARGE = Held(number=1, size=100 * 10**6)
UNMEASURED = Held(number=2, size=100 * 10**6, says_length=False)
SMALL = Held(number=3, size=500_000)
IN_CHUNKS = tuple(
    Held(number=number, size=100 * 10**6, says_length=False, chunk_bytes=size)
    for number, size in ((5, 8 << 10), (6, 64 << 10))
)
LARGEST = Held(number=4, size=10**9)
SMALL_REQUESTS = 200
SLOW_CLIENTS = 20
SLOW_BYTES_A_SECOND = 8 * 10**6
SLOW_SECONDS = 3.0
READ_BYTES = 1 << 20
US, NGINX, DEFAULT, NODE = "gateway", "nginx, 64 KB buffers", "nginx, its defaults", "node pipe"
_Server = Gateway | Server


def request(port: int, instance: Held) -> bytes:
    """A request for an instance, on a connection of its own."""
    return (
        f"GET {instance.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Accept: {study.ACCEPT}\r\nConnection: close\r\n\r\n"
    ).encode()


def read(port: int, instance: Held) -> int:
    """Bytes that a server sends for an instance; ValueError unless the answer is a whole one."""
    buffer = bytearray(READ_BYTES)
    view = memoryview(buffer)
    start, end, size = b"", b"", 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
        one.sendall(request(port, instance))
        while count := one.recv_into(buffer):
            if size == 0:
                start = bytes(view[:16])
            end = (end + bytes(view[max(count - 64, 0) : count]))[-64:]
            size += count
    is_whole = start.startswith(b"HTTP/1.1 200 ") and re.search(rb"(--\r\n|\r\n0\r\n\r\n)$", end)
    if not is_whole or size < instance.size:
        raise ValueError(f"{start!r} … {end!r}: {size} bytes")
    return size


def cpu_per_gb(one: _Server, instance: Held, times: int = 1) -> float:
    """CPU seconds that a server takes for a gigabyte."""
    before = cpu_seconds(one.pid)
    size = sum(read(one.port, instance) for _ in range(times))
    return (cpu_seconds(one.pid) - before) / size * 1e9


def seconds_per_gb(one: _Server, instance: Held) -> float:
    """How long a gigabyte takes."""
    began = time.perf_counter()
    size = read(one.port, instance)
    return (time.perf_counter() - began) / size * 1e9


def growth(one: _Server, transfer: Callable[[], object]) -> int:
    """How many bytes more memory than before a transfer takes at its peak."""
    before = memory(one.pid, "VmRSS")
    forget_peak(one.pid)
    transfer()
    return memory(one.pid, "VmHWM") - before


def read_slowly(port: int) -> None:
    """Many clients that each take less than is there, and leave before the end."""
    readers = [threading.Thread(target=_slow_reader, args=(port,)) for _ in range(SLOW_CLIENTS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


def _slow_reader(port: int) -> None:
    piece, until = 1 << 16, time.monotonic() + SLOW_SECONDS
    with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
        one.sendall(request(port, LARGEST))
        while time.monotonic() < until:
            if not one.recv(piece):
                raise ValueError("the answer ended early")
            time.sleep(piece / SLOW_BYTES_A_SECOND)


def candidates(folder: Path, upstream: FileArchive) -> Mapping[str, _Server]:
    """What is compared, by name."""
    base = f"http://127.0.0.1:{upstream.port}{study.BASE}"
    many = archive(base, max_concurrency=64)
    return {
        US: Gateway(folder / "gateway", {"archive": many}),
        NGINX: NginxProxy(folder / "nginx-64k", upstream.port, LARGE_BUFFERS),
        DEFAULT: NginxProxy(folder / "nginx", upstream.port, "proxy_max_temp_file_size 0;"),
        NODE: NodePipe(folder / "node", upstream.port),
    }


def cpu(running: Mapping[str, _Server], what: str, instance: Held, times: int, count: int) -> None:
    """CPU of a gigabyte, the gateway's in those of the others."""
    measures = {name: partial(cpu_per_gb, one, instance, times) for name, one in running.items()}
    done = rounds(count, measures)
    shown = ", ".join(f"{name} {median(done, name):.2f}" for name in running)
    sys.stdout.write(f"{what}, CPU s/GB: {shown}\n")
    floor, goal = (3.2, None) if instance is SMALL else (2.6, 2.1)
    tell(
        Result(what=f"{what}: CPU", of=NGINX, ratio=ratio(done, US, NGINX), floor=floor, goal=goal)
    )
    tell(Result(what=f"{what}: CPU", of=DEFAULT, ratio=ratio(done, US, DEFAULT)))
    tell(Result(what=f"{what}: CPU", of=NODE, ratio=ratio(done, US, NODE), floor=0.9, goal=0.75))


def throughput(running: Mapping[str, _Server], count: int) -> None:
    """How fast a large instance comes."""
    done = rounds(count, {n: partial(seconds_per_gb, one, LARGE) for n, one in running.items()})
    for name in (NGINX, NODE):
        tell(
            Result(
                what="100 MB: throughput", of=name, ratio=ratio(done, name, US), is_more_better=True
            )
        )


def grown(one: _Server) -> None:
    """How much memory large and slow transfers take."""
    for what, transfer, floor, goal in (
        ("1 GB to one client", partial(read, one.port, LARGEST), 8, 2),
        (f"{SLOW_CLIENTS} slow clients", partial(read_slowly, one.port), 30, 15),
    ):
        tell(
            Result(
                what=f"{what}: memory",
                of="more than before",
                ratio=growth(one, transfer) / 1e6,
                floor=floor,
                goal=goal,
                unit="MB",
            )
        )


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        held = (LARGE, UNMEASURED, SMALL, LARGEST, *IN_CHUNKS)
        upstream = study.archive(folder / "archive", held, {})
        stack.enter_context(upstream)
        running = candidates(folder, upstream)
        for one in running.values():
            stack.enter_context(one)
            for instance in (LARGE, UNMEASURED, SMALL, *IN_CHUNKS):
                read(one.port, instance)
        throughput(running, count)
        for what, instance, times in (
            ("100 MB", LARGE, 1),
            ("100 MB of unknown length", UNMEASURED, 1),
            ("100 MB in chunks of 8 KB", IN_CHUNKS[0], 1),
            ("100 MB in chunks of 64 KB", IN_CHUNKS[1], 1),
            ("500 KB", SMALL, SMALL_REQUESTS),
        ):
            before = upstream.asked()
            cpu(running, what, instance, times, count)
            if upstream.asked() - before != times * count * len(running):
                raise SystemExit("not every transfer came from the archive, or more than it")
        grown(running[US])


if __name__ == "__main__":
    main()
