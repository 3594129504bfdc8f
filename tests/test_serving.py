"""The whole program as a process: it starts, and stops in good order."""

from __future__ import annotations

import gc
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway.serving import settle
from tests.doubles import Double
from tests.fault_archive import FaultArchive
from tests.forked import ForkedGateway
from tests.gateways import Gateway, archive
from tests.servers import ServerError
from tests.transfers import ONE, PATH, SIZE, Transfer, exit_code, refuses_connections, run

UNNEEDED = {"pydicom", "numpy", "PIL", "imagecodecs", "redis", "cryptography", "jwt", "fhir"}
"""What neither searches nor what is passed on need; it takes half a second and 50 MB."""


@pytest.fixture
def _collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("_collector")
def test_what_is_there_is_not_looked_through_for_garbage_again() -> None:
    gc.unfreeze()
    kept = [[number] for number in range(1000)]
    settle()

    assert gc.get_freeze_count() > len(kept)
    assert not any(one is kept for one in gc.get_objects())


class Importing(Gateway):
    """Tells at its end, in its log, which packages it has imported."""

    program = (
        "import atexit, sys; from gateway.cli import main; "
        "atexit.register(lambda: print('IMPORTED', *{n.split('.')[0] for n in sys.modules})); "
        "main()"
    )

    @property
    def imported(self) -> set[str]:
        """The packages."""
        lines = (line.split() for line in self.log.splitlines())
        return next(set(words[1:]) for words in lines if words[:1] == ["IMPORTED"])


@pytest.fixture
async def gateway(fault_archive: FaultArchive, tmp_path: Path) -> AsyncIterator[Gateway]:
    Double(fault_archive, [ONE])
    one = ForkedGateway(tmp_path, {"north": archive(fault_archive.url)})
    await run(one)
    yield one
    one.kill()


async def test_a_running_transfer_finishes_after_sigterm(
    gateway: Gateway, fault_archive: FaultArchive
) -> None:
    transfer = Transfer(gateway, fault_archive)
    async with transfer as answer:
        os.kill(gateway.pid, signal.SIGTERM)
        assert await refuses_connections(gateway)
        transfer.release()
        rest = await answer.read()
        assert len(rest) > SIZE // 2
    assert await exit_code(gateway) == 0


async def test_an_idle_gateway_stops_at_once(gateway: Gateway) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{gateway.url}/health/ready") as answer:
            assert answer.status == 200
        started = time.monotonic()  # its connection is kept alive, and idle
        os.kill(gateway.pid, signal.SIGTERM)
        assert await exit_code(gateway) == 0
        assert time.monotonic() - started < 15


async def test_ctrl_c_stops_in_good_order_too(gateway: Gateway) -> None:
    os.kill(gateway.pid, signal.SIGINT)
    assert await exit_code(gateway) == 0
    assert "Traceback" not in gateway.log


async def test_a_second_signal_ends_it_at_once(
    gateway: Gateway, fault_archive: FaultArchive
) -> None:
    async with Transfer(gateway, fault_archive) as answer:
        os.kill(gateway.pid, signal.SIGTERM)
        assert await refuses_connections(gateway)
        os.kill(gateway.pid, signal.SIGTERM)
        assert await exit_code(gateway) == -signal.SIGTERM
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_transfer_that_never_ends_is_cut_when_the_time_is_up(
    fault_archive: FaultArchive, tmp_path: Path
) -> None:
    Double(fault_archive, [ONE])
    limits = {"shutdown_seconds": 0.5}
    one = ForkedGateway(tmp_path, {"north": archive(fault_archive.url)}, server=limits)
    await run(one)
    try:
        async with Transfer(one, fault_archive) as answer:
            os.kill(one.pid, signal.SIGTERM)
            assert await exit_code(one) == 0
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
    finally:
        one.kill()


def test_a_port_that_is_taken_is_said(tmp_path: Path, fault_archive: FaultArchive) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens: whoever asks whether it runs is refused
        one = ForkedGateway(tmp_path, {"north": archive(fault_archive.url)})
        one.port = taken.getsockname()[1]
        with pytest.raises(ServerError):
            one.start()
        assert "Traceback" not in one.log


async def test_the_log_has_no_word_of_what_was_asked(gateway: Gateway) -> None:
    async with aiohttp.ClientSession() as session:
        for path in (f"{PATH}?x=CANARY", "/dicom-web/studies?PatientName=CANARY", "/CANARY"):
            headers = {"Authorization": "Bearer CANARY", "User-Agent": "CANARY"}
            async with session.get(f"{gateway.url}{path}", headers=headers) as answer:
                await answer.read()
    os.kill(gateway.pid, signal.SIGTERM)
    await exit_code(gateway)
    assert "CANARY" not in gateway.log
    assert ONE.study not in gateway.log
    assert '"route":"/dicom-web/studies"' in gateway.log


async def test_that_what_searches_and_retrieving_do_not_need_is_not_imported(
    fault_archive: FaultArchive, tmp_path: Path
) -> None:
    Double(fault_archive, [ONE])
    gateway = Importing(tmp_path, {"north": archive(fault_archive.url)})
    await run(gateway)
    paths = (
        "/",
        f"/dicom-web/studies?StudyInstanceUID={ONE.study}&includefield=all",
        f"/dicom-web/studies/{ONE.study}/metadata",
        f"/fhir/r5/ImagingStudy/{ONE.study}",
        f"/fhir/r4/ImagingStudy?_id={ONE.study}&_summary=true",
        PATH,
    )
    try:
        async with aiohttp.ClientSession() as session:
            for path in paths:
                async with session.get(f"{gateway.url}{path}") as answer:
                    assert answer.status == 200, path
        os.kill(gateway.pid, signal.SIGTERM)
        assert await exit_code(gateway) == 0
    finally:
        gateway.kill()
    assert not UNNEEDED & gateway.imported
