"""What thousands of broken and hostile files do to a gateway: nothing, it is hoped.

Run: .venv/bin/python bench/hostile.py [files] [first number]. A folder of them is indexed by a
gateway that runs in this process; another process asks for the thumbnail of each that is known, and
for every fifth rendering. Then each file is drawn as if an archive had sent it. Meanwhile a ticker
of 1 ms in the gateway's loop tells how long that is held up: by the clock, and by the processor
time that its thread spends from one tick to the next, which no other program adds to.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.adapters.telemetry import configure_log
from gateway.adapters.thumbnail import CannotDraw, PictureRequest, PictureWorker, Subject
from gateway.app import build_app
from gateway.config import Settings
from gateway.serving import settle
from tests import mutations

FILES = 10_000
PAGE = 1000
ASKERS = 4
write = sys.stdout.write


@dataclass
class Ticker:
    """How late each tick of the loop was, and what its thread spent until then."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            clock, spent = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.seconds.append(time.perf_counter() - clock - 0.001)
            self.cpu_seconds.append(time.thread_time() - spent)

    def told(self) -> str:
        """The worst of all."""
        late = sum(1 for s in self.seconds if s > 0.1)
        return (
            f"{len(self.seconds)} ticks, latest {max(self.seconds) * 1000:.0f} ms "
            f"({late} above 100 ms), most processor time {max(self.cpu_seconds) * 1000:.0f} ms"
        )


@asynccontextmanager
async def ticking(name: str) -> AsyncIterator[None]:
    """Tells how the loop fared meanwhile."""
    ticker, began = Ticker(), time.perf_counter()
    task = asyncio.ensure_future(ticker.run())
    yield
    task.cancel()
    write(f"{name}: {time.perf_counter() - began:.0f} s; {ticker.told()}\n")


async def over_http(folder: Path) -> None:
    """Everything that a gateway over the folder knows, asked for by another process."""
    archives = {"all": {"type": "folder", "path": str(folder), "rescan_seconds": 0}}
    settings = Settings.model_validate({"archives": archives})
    runner = web.AppRunner(build_app(settings), access_log=None, handler_cancellation=True)
    await runner.setup()
    settle()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with ticking("indexed and asked"):
        asker = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, f"http://{host}:{port}/dicom-web"),
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await asker.communicate()
    write(told.decode())
    await runner.cleanup()


async def as_sent(count: int, first: int) -> None:
    """Each file drawn, two at a time."""
    lost: Counter[str] = Counter()
    worker = PictureWorker(lost=lambda cause: lost.update((cause,)))
    numbers, outcomes = iter(range(first, first + count)), Counter[str]()

    async def draw() -> None:
        for number in numbers:
            content = await asyncio.to_thread(mutations.mutated, number)
            subject = Subject(object=str(number), wall_seconds=8, cpu_seconds=4)
            try:
                await worker.draw(content, PictureRequest(width=96, height=96), subject)
                outcomes["drawn"] += 1
            except CannotDraw as error:
                outcomes[type(error).__name__] += 1

    async with ticking("drawn as sent"):
        await asyncio.gather(draw(), draw())
    await worker.close()
    write(f"{dict(outcomes)}, processes lost {dict(lost)}\n")


def ask(base: str) -> None:
    """Asks a gateway for all that it knows, and tells how it answered."""
    rows: list[dict[str, Any]] = []
    while not rows or len(rows) % PAGE == 0:
        page = json.loads(_read(f"{base}/instances?limit={PAGE}&offset={len(rows)}")[1])
        if not page:
            break
        rows += page
    paths = []
    for number, row in enumerate(rows):
        study, series, instance = (row[t]["Value"][0] for t in ("0020000D", "0020000E", "00080018"))
        path = f"{base}/studies/{study}/series/{series}/instances/{instance}"
        paths += [f"{path}/thumbnail?viewport=96,96"]
        paths += [f"{path}/rendered", f"{path}/metadata"] if number % 5 == 0 else []
    with ThreadPoolExecutor(ASKERS) as threads:
        answers = threads.map(lambda p: (p.split("?")[0].rpartition("/")[2], _read(p)[0]), paths)
        found = Counter(f"{kind} {status}" for kind, status in answers)
    write(f"{len(rows)} instances: {dict(sorted(found.items()))}\n")


def _read(url: str) -> tuple[int, bytes]:
    for _ in range(20):
        try:
            with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310  our own gateway
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            if error.code != 503 or "/instances?" not in url:
                return error.code, b""
            time.sleep(1)
    raise TimeoutError


def main(count: int, first: int) -> None:
    """Makes the files, and asks for them in both ways."""
    configure_log(io.StringIO())
    with tempfile.TemporaryDirectory() as place:
        for number in range(first, first + count):
            Path(place, f"{number}.dcm").write_bytes(mutations.mutated(number))
        asyncio.run(over_http(Path(place)))
    asyncio.run(as_sent(count, first))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("http"):
        ask(sys.argv[1])
    else:
        counts = [int(word) for word in sys.argv[1:]]
        main(*counts, *(FILES, 1)[len(counts) :])
