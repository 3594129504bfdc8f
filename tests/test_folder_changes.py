"""What is remembered of a study ends when one of its files changes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from gateway import config
from gateway.adapters.archive_folder import FolderArchive
from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.telemetry import Telemetry
from gateway.adapters.thumbnail import PictureWorker
from gateway.archives import Archives
from gateway.catalog import Catalog
from gateway.errors import Unavailable
from gateway.folder_changes import FolderChanges
from gateway.model import Origin, Target
from gateway.pictures import Pictures
from tests import odd_images
from tests.assembled import ANYONE


class Remembered:
    """Knows what was dropped; of one study that fails."""

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.is_done = asyncio.Event()

    async def forget(self, study_uid: str) -> None:
        self.dropped.append(study_uid)
        if study_uid == "1":
            raise Unavailable("no cache")
        self.is_done.set()


async def test_what_threads_tell_is_dropped_in_the_loop() -> None:
    remembered, changes = Remembered(), FolderChanges()
    changes.open(remembered.forget)
    thread = threading.Thread(target=changes.told, args=(("1", "2"),))
    thread.start()
    async with asyncio.timeout(5):
        await remembered.is_done.wait()
    thread.join()
    await changes.close()
    assert remembered.dropped == ["1", "2"]


def test_what_is_told_after_the_end_is_of_no_account() -> None:
    async def made() -> FolderChanges:
        return FolderChanges()

    asyncio.run(made()).told(["1"])


async def test_a_file_that_changes_has_another_thumbnail(tmp_path: Path) -> None:
    """Half copied at first, then whole, then replaced under the same UIDs."""
    pixels = odd_images.base()
    named = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", **odd_images.EIGHT}
    whole, other = (odd_images.native(p, **named) for p in (pixels, 255 - pixels))
    file = tmp_path / "a.dcm"
    file.write_bytes(whole[: len(whole) // 2])
    changes = FolderChanges()
    section = config.FolderArchive(type="folder", path=tmp_path, rescan_seconds=0)
    folder = FolderArchive(section, Origin(archive="a"), changed=changes.told)
    lives = Lives(fresh_seconds=3600, stale_seconds=3600, absent_seconds=0)
    cache = MemoryCache(lives=lives, max_bytes=1 << 24, telemetry=Telemetry())
    archives = Archives([folder], cache)
    changed = asyncio.Event()

    async def forget(study_uid: str) -> None:
        await archives.forget(study_uid)
        changed.set()

    changes.open(forget)
    pictures = Pictures(Catalog(archives), archives, PictureWorker())
    target = Target(study_uid="1.2.3")
    seen = []
    for content in (None, whole, other):
        if content is not None:
            changed.clear()
            file.write_bytes(content)
            await folder.rescan()
            async with asyncio.timeout(5):
                await changed.wait()
        picture = await pictures.thumbnail(ANYONE, target, 64, 64, "image/png")
        seen.append(picture.body)
        assert (await pictures.thumbnail(ANYONE, target, 64, 64, "image/png")).body == seen[-1]
    await pictures.close()
    await changes.close()
    await archives.close()
    assert len(set(seen)) == 3
