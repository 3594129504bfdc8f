from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import web

from gateway.adapters import audit
from gateway.adapters.audit import Audit
from gateway.adapters.audit_spool import Spool
from gateway.adapters.origin_client import OriginClient

EVENTS = [{"resourceType": "AuditEvent", "id": str(n)} for n in range(5)]


class Repository:
    """A server that takes audit events, or answers `status`."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 201
        self.taken: list[str] = []
        self.asked = asyncio.Condition()

    async def create(self, request: web.Request) -> web.Response:
        event = await request.json()
        if self.status == 201:
            self.taken.append(event["id"])
        async with self.asked:
            self.asked.notify_all()
        return web.Response(status=self.status)

    async def has(self, number: int) -> None:
        async with asyncio.timeout(10), self.asked:
            await self.asked.wait_for(lambda: len(self.taken) >= number)


@asynccontextmanager
async def repository() -> AsyncIterator[Repository]:
    made = Repository()
    app = web.Application()
    app.router.add_post("/AuditEvent", made.create)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/AuditEvent"
    yield made
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(audit, "SHIP_SECONDS", 0.01)
    monkeypatch.setattr(audit, "LONGEST_PAUSE_SECONDS", 0.05)


async def test_events_reach_the_server_once_and_leave_nothing(tmp_path: Path) -> None:
    async with repository() as server:
        trail = Audit(Spool(tmp_path, 1 << 20), OriginClient("audit", server.url))
        trail.open()
        trail.record(EVENTS[:2])
        trail.record(EVENTS[2:])
        await server.has(5)
        await trail.close()
        again = Audit(Spool(tmp_path, 1 << 20), OriginClient("audit", server.url))
        again.open()
        again.record([{"id": "last"}])
        await server.has(6)
        await again.close()
    assert server.taken == ["0", "1", "2", "3", "4", "last"]


async def test_events_wait_for_a_server_that_is_away(tmp_path: Path) -> None:
    async with repository() as server:
        server.status = 503
        trail = Audit(Spool(tmp_path, 1 << 20), OriginClient("audit", server.url))
        trail.open()
        trail.record(EVENTS)
        async with asyncio.timeout(10), server.asked:
            await server.asked.wait()
        server.status = 201
        await server.has(5)
        await trail.close()
    assert server.taken == [e["id"] for e in EVENTS]


async def test_what_the_server_never_takes_holds_up_nothing(tmp_path: Path) -> None:
    async with repository() as server:
        server.status = 422
        trail = Audit(Spool(tmp_path, 1 << 20), OriginClient("audit", server.url))
        trail.open()
        trail.record(EVENTS[:1])
        async with asyncio.timeout(10), server.asked:
            await server.asked.wait()
        server.status = 201
        trail.record(EVENTS[1:])
        await server.has(4)
        await trail.close()
    assert json.loads((tmp_path / "rejected").read_bytes()) == EVENTS[0]


async def test_a_spool_that_takes_no_more_says_so_and_loses_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "spool"
    blocked.write_text("a file where the folder should be")
    trail = Audit(Spool(blocked, 1 << 20))
    trail.record(EVENTS)
    await trail._flush()
    states = [trail.is_failing]
    blocked.unlink()
    await trail.close()
    assert [*states, trail.is_failing] == [True, False]
    (segment,) = blocked.glob("*.ndjson")
    assert len(segment.read_bytes().splitlines()) == 5


CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.adapters.audit import Audit
from gateway.adapters.audit_spool import Spool

async def main():
    trail = Audit(Spool(Path(sys.argv[1]), 1 << 20))
    trail.open()
    trail.record([{"id": "kept"}])
    while not [p for p in Path(sys.argv[1]).glob("*.ndjson") if p.stat().st_size]:
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_crash_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CRASH, str(tmp_path)]
    subprocess.run(command, check=False, timeout=30)  # noqa: S603 - our own words
    with closing(Spool(tmp_path, 1 << 20)) as spool:
        lines = [line.body for p in spool.to_ship() for line in spool.lines(p, 9)]
    assert lines == [b'{"id":"kept"}']
