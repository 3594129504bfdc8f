"""What the gateway takes besides time: room in Redis, memory for connections, CPU to start.

Run: python -m bench.costs [rounds], or `make bench`. Room is what Redis itself counts for a study
that was read, its marks included, against the bytes of the ImagingStudy in plain JSON. Connections
are kept after one request each. What starting costs is compared with a process that imports all
that any request may need, fhir.resources and dicomweb-client included, as a program does that has
no lazy imports; both find their modules compiled, as installed ones are.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import redis

from bench.ground.processes import cpu_seconds, memory
from bench.ground.reader import Reader
from bench.ground.stub import Held, StubArchive, study_uid
from bench.ground.sums import Result, median, ratio, rounds_asked, tell
from tests.gateways import Gateway, archive
from tests.servers import RedisServer

ROUNDS = 5
INSTANCES = 1000
CONNECTIONS = 1000
PATH = f"/fhir/r5/ImagingStudy/{study_uid(0)}"
EVERYTHING = """
import dicomweb_client, fhir.resources.imagingstudy, fhir.resources.bundle, numpy, PIL.Image
import pydicom, pydicom.pixels, redis.asyncio, redis.asyncio.cluster, imagecodecs, openjpeg, jwt
import cryptography.hazmat.primitives.kdf.hkdf, cryptography.x509, gateway.app
import gateway.adapters.archive_folder, gateway.adapters.cache_redis, gateway.adapters.wado_uri
from gateway.cli import main
import resource, time
print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
STARTED, IMPORTED = "gateway, serving", "everything imported"


def room(folder: Path, upstream: StubArchive) -> None:
    """Bytes in Redis for a study of many instances."""
    with (
        RedisServer(folder / "redis") as server,
        redis.Redis.from_url(server.url) as client,
        Gateway(
            folder / "shared", {"archive": archive(upstream.url)}, cache={"redis_url": server.url}
        ) as one,
    ):
        plain = len(Reader(one.port).read(PATH))
        names = list(client.scan_iter("*"))
        held = sum(client.memory_usage(name) or 0 for name in names)
        longest = max(int(client.strlen(name)) for name in names)
    if longest < INSTANCES:
        raise SystemExit("the study is not in Redis")
    sys.stdout.write(
        f"{INSTANCES:,} instances: {held} bytes in {len(names)} keys, {plain} in JSON\n"
    )
    tell(
        Result(
            what=f"room in Redis of a study of {INSTANCES:,} instances",
            of="its JSON",
            ratio=held / plain,
            floor=1 / 4,
            goal=1 / 6,
        )
    )


def idle(gateway: Gateway) -> None:
    """Memory of connections that are kept."""
    kept = []
    found = []
    for _ in range(2):  # the first lot brings the allocator to where it stays
        before = memory(gateway.pid, "VmRSS")
        for _ in range(CONNECTIONS):
            one = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
            one.request("GET", PATH)
            if one.getresponse().read() == b"":
                raise SystemExit("nothing was answered")
            kept.append(one)
        found.append((memory(gateway.pid, "VmRSS") - before) / CONNECTIONS)
    for one in kept:
        one.close()
    shown = " and ".join(f"{bytes_ / 1024:.1f}" for bytes_ in found)
    sys.stdout.write(f"idle connections, {CONNECTIONS:,} and as many more: {shown} KB each\n")
    what, each = "idle kept connection: memory", max(found) / 1024
    tell(Result(what=what, of="", ratio=each, floor=16, goal=10, unit="KB"))


def started(folder: Path, upstream: StubArchive) -> dict[str, float]:
    """CPU seconds and bytes of a gateway that serves."""
    with Gateway(folder, {"archive": archive(upstream.url)}) as one:
        return {"CPU": cpu_seconds(one.pid), "memory": memory(one.pid, "VmRSS")}


def imported() -> dict[str, float]:
    """The same of a process that has imported everything."""
    command = [sys.executable, "-c", EVERYTHING]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    cpu, size = done.stdout.split()
    return {"CPU": float(cpu), "memory": float(size)}


def starting(folder: Path, upstream: StubArchive, count: int) -> None:
    """What a start costs."""
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    started(folder / "first", upstream)
    imported()
    done = [
        {(STARTED, k): v for k, v in started(folder / str(n), upstream).items()}
        | {(IMPORTED, k): v for k, v in imported().items()}
        for n in range(count)
    ]
    for kind in ("CPU", "memory"):
        rows = [{name: one[name, kind] for name in (STARTED, IMPORTED)} for one in done]
        shown = ", ".join(f"{name} {median(rows, name):.3g}" for name in (STARTED, IMPORTED))
        sys.stdout.write(f"to start, {kind}: {shown}\n")
        times = ratio(rows, STARTED, IMPORTED)
        tell(
            Result(
                what=f"to start and serve: {kind}", of=IMPORTED, ratio=times, floor=0.7, goal=0.5
            )
        )


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        held = Held(studies=1, instances=INSTANCES)
        upstream = stack.enter_context(StubArchive(folder / "archive", held))
        room(folder, upstream)
        small = Held(studies=1, instances=32)
        with StubArchive(folder / "small", small) as few:
            section = {"archive": archive(few.url)}
            with Gateway(folder / "idle", section, cache={"fresh_seconds": 3600}) as one:
                idle(one)
        starting(folder / "starts", upstream, count)


if __name__ == "__main__":
    main()
