"""Servers, samples and settings that all tests share.

Servers live as long as the test process (each pytest-xdist worker has its own) and are handed out
running; a test may stop, freeze or fill them, the next one gets them mended.
"""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio

from gateway import demo
from gateway.app import build_app
from tests import samples as sample_files
from tests.fault_archive import FaultArchive
from tests.logs import logging_to
from tests.samples import Sample, TwoArchives
from tests.servers import Orthanc, RedisServer
from tests.sockets import Sockets, listening
from tests.standing import Client, Standing

hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

SECURED_USER = ("lab", "north-secret")


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sample DICOM files that the demo serves; nobody writes to it."""
    folder = tmp_path_factory.mktemp("samples")
    demo.build(folder)
    return folder


@pytest.fixture(scope="session")
def samples(sample_folder: Path) -> tuple[Sample, ...]:
    """The sample files, sorted by UID."""
    return sample_files.read(path for path in sample_folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def _north(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("north")) as orthanc:
        yield orthanc


@pytest.fixture(scope="session")
def _south(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("south")) as orthanc:
        yield orthanc


@pytest.fixture(scope="session")
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("scratch")) as orthanc:
        yield orthanc


@pytest.fixture(scope="session")
def _secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("secured"), user=SECURED_USER) as orthanc:
        yield orthanc


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def two_archives(_north: Orthanc, _south: Orthanc, samples: tuple[Sample, ...]) -> TwoArchives:
    """North and south, loaded with the samples: a study split, one held twice, the rest apart."""
    archives = sample_files.divide(samples, _north, _south)
    sample_files.hold(archives.north, archives.in_north)
    sample_files.hold(archives.south, archives.in_south)
    return archives


@pytest.fixture
def orthanc_north(two_archives: TwoArchives) -> Orthanc:
    """The first of `two_archives`, loaded."""
    return two_archives.north


@pytest.fixture
def orthanc_south(two_archives: TwoArchives) -> Orthanc:
    """The second of `two_archives`, loaded."""
    return two_archives.south


@pytest.fixture
def empty_orthanc(_scratch: Orthanc) -> Orthanc:
    """An archive of its own for tests that write: empty at the start of each."""
    sample_files.hold(_scratch, ())
    return _scratch


@pytest.fixture
def secured_orthanc(_secured: Orthanc, samples: tuple[Sample, ...]) -> Orthanc:
    """An archive that asks for HTTP Basic credentials (its `user`), loaded with one study."""
    first = samples[0].study_uid
    sample_files.hold(_secured, tuple(one for one in samples if one.study_uid == first))
    return _secured


@pytest.fixture
def redis_server(_redis: RedisServer) -> RedisServer:
    """A Redis, empty at the start of each test."""
    _redis.renew()
    return _redis


@pytest.fixture(scope="module")
def _demo(sample_folder: Path) -> Iterator[Standing]:
    with Standing(build_app(demo.settings(sample_folder, 8080))) as gateway:
        yield gateway


@pytest_asyncio.fixture
async def demo_client(_demo: Standing) -> AsyncIterator[Client]:
    """A client of the gateway over the demonstration's studies, which stands for the module."""
    async with _demo.client() as client:
        yield client


@pytest_asyncio.fixture
async def fault_archive() -> AsyncIterator[FaultArchive]:
    """A server that answers 404 until the test tells it how to fail."""
    async with FaultArchive() as archive:
        yield archive


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged during the test, as it is in a file or pipe."""
    stream = io.StringIO()
    with logging_to(stream):
        yield stream


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """The addresses that are connected to during the test."""
    with listening() as made:
        yield made
