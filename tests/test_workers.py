"""Several processes on one port: they begin, are replaced, and end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.workers import Workers
from tests.doubles import Double
from tests.fault_archive import FaultArchive
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.servers import ServerError
from tests.transfers import ONE, SIZE, Transfer, exit_code, refuses_connections, run


@pytest.fixture
async def two_workers(fault_archive: FaultArchive, tmp_path: Path) -> AsyncIterator[Gateway]:
    Double(fault_archive, [ONE])
    one = ForkedGateway(tmp_path, {"north": archive(fault_archive.url)}, server={"workers": 2})
    await run(one)
    yield one
    one.kill()


def workers_of(gateway: Gateway) -> list[int]:
    """The process ids of the workers, from those whose parent is the gateway."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            if parent == gateway.pid and b"spawn_main" in command:
                found.append(int(entry.name))
    return found


async def test_workers_share_the_port_and_finish_what_they_do(
    two_workers: Gateway, fault_archive: FaultArchive
) -> None:
    """One worker is idle and ends at once; that must not end the other one's transfer."""
    transfer = Transfer(two_workers, fault_archive)
    async with transfer as answer:
        workers = workers_of(two_workers)
        assert len(workers) == 2
        os.kill(two_workers.pid, signal.SIGTERM)
        assert await refuses_connections(two_workers)
        assert await one_ends(workers)
        transfer.release()
        assert len(await answer.read()) > SIZE // 2
    assert await exit_code(two_workers) == 0


async def one_ends(workers: list[int]) -> bool:
    return await comes(lambda: not all(_is_alive(pid) for pid in workers))


async def comes(is_so: Callable[[], bool]) -> bool:
    """Whether something comes to be."""
    for _ in range(200):
        if is_so():
            return True
        await asyncio.sleep(0.05)
    return False


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def both_serve(gateway: Gateway) -> list[int]:
    assert await comes(lambda: gateway.log.count('"event":"serving"') == 2)
    return workers_of(gateway)


async def test_another_takes_the_place_of_a_worker_that_dies(two_workers: Gateway) -> None:
    killed, left = await both_serve(two_workers)
    os.kill(killed, signal.SIGKILL)

    assert await comes(lambda: two_workers.log.count('"event":"serving"') == 3)
    now = workers_of(two_workers)
    assert len(now) == 2
    assert left in now
    assert killed not in now
    os.kill(two_workers.pid, signal.SIGTERM)
    assert await exit_code(two_workers) == 0


async def test_workers_end_with_their_parent(two_workers: Gateway) -> None:
    """Otherwise they would go on serving by the configuration that was, beside their successors."""
    workers = await both_serve(two_workers)
    os.kill(two_workers.pid, signal.SIGKILL)

    assert await comes(lambda: not any(_is_alive(pid) for pid in workers))
    assert await refuses_connections(two_workers)


def end_at_once(settings: Settings, served: Event) -> None:
    """What a worker does that cannot serve."""


@pytest.fixture
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals")
def test_workers_that_never_serve_are_not_replaced(tmp_path: Path) -> None:
    samples = {"type": "folder", "path": str(tmp_path)}
    settings = Settings.model_validate({"archives": {"samples": samples}, "server": {"workers": 2}})
    with pytest.raises(SystemExit) as ended:
        Workers(end_at_once, settings).supervise()
    assert ended.value.code == 1


async def test_a_port_that_another_gateway_serves_is_said(
    two_workers: Gateway, fault_archive: FaultArchive, tmp_path: Path
) -> None:
    """Workers share their port with one another, and with nobody else."""
    await both_serve(two_workers)
    folder = tmp_path / "other"
    folder.mkdir()
    other = ForkedGateway(folder, {"north": archive(fault_archive.url)}, server={"workers": 2})
    other.port = two_workers.port
    with contextlib.suppress(ServerError):  # unless it takes the other one for itself
        await run(other)
    assert await comes(lambda: not other.running)
    assert "Traceback" not in other.log
    assert '"event":"serving"' not in other.log
