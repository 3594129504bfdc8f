"""The thread that looks at a folder from time to time, and the last snapshot that it took."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Collection, Set
from concurrent.futures import Future
from contextlib import suppress

import structlog

from gateway.adapters.folder_index import FolderIndex
from gateway.adapters.folder_snapshot import Snapshot, changed

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class FolderWatch:
    """Scans every `rescan_seconds` (0: only when asked), in one thread that it starts itself."""

    def __init__(
        self,
        index: FolderIndex,
        rescan_seconds: float,
        archive: str,
        changed: Callable[[Collection[str]], None] = lambda studies: None,
    ) -> None:
        """`changed` is told, in that thread, of which studies files changed."""
        self._changed = changed
        self.snapshot = Snapshot()
        self.has_failed = False
        self._index = index
        self._wait_seconds = rescan_seconds or None
        self._archive = archive
        self._asked: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()
        self._first: Future[None] = Future()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> Future[None]:
        """Begin, unless begun; the future is done when the folder has been read once."""
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._asked.put(self._first)
                name = f"index-{self._archive}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
        return self._first

    def rescan(self) -> Future[None]:
        """Done after a scan that began after this call."""
        self.start()
        asked: Future[None] = Future()
        self._asked.put(asked)
        return asked

    def stop(self) -> None:
        """Begin to stop, also within a scan."""
        with self._lock:
            self._stopped.set()

    def close(self) -> None:
        """Stop, and wait for the thread."""
        self.stop()
        self._asked.put(Future())
        if self._thread is not None:
            self._thread.join()
        self._first.cancel()

    def _work(self) -> None:
        while not self._stopped.is_set():
            waiting = self._next_asked()
            if not self._stopped.is_set():
                self._scan()
            for asked in waiting:
                asked.set_result(None)

    def _next_asked(self) -> list[Future[None]]:
        """Everybody who asks for a scan, or nobody when it is time for one."""
        waiting = []
        with suppress(queue.Empty):
            waiting.append(self._asked.get(timeout=self._wait_seconds))
            while True:
                waiting.append(self._asked.get_nowait())
        return waiting

    def _scan(self) -> None:
        try:
            found = self._index.scan(self._stopped.is_set)
        except OSError as error:
            if self._stopped.is_set():
                return
            self.has_failed = True
            _log.warning("folder cannot be listed", archive=self._archive, cause=error.strerror)
            return
        if self._stopped.is_set():
            return
        self._tell_of_skipped(set(found.skipped) - set(self.snapshot.skipped))
        studies = changed(self.snapshot, found)
        self.snapshot, self.has_failed = found, False
        if studies:
            self._changed(studies)

    def _tell_of_skipped(self, skipped: Set[tuple[str, str]]) -> None:
        """How many files are not served and why, without their names: those may tell of patients.

        `reason` may name another file as well; what is logged is how it begins.
        """
        causes = Counter(reason.partition(" as ")[0] for _, reason in skipped)
        for cause, count in causes.items():
            _log.warning("files skipped", archive=self._archive, count=count, cause=cause)
