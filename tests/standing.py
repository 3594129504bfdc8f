"""A gateway in the process of the tests that stands for all tests of a module.

It runs in a thread with a loop of its own, so that each test keeps its own loop. It is for tests
that only read: what one of them has made it remember, it knows for the next one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

Client = TestClient[Request, Application]


class Standing:
    """An application that is served while this is entered."""

    def __init__(self, app: Application) -> None:
        """It is not served yet."""
        self._server = TestServer(app)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start_server(), self._loop).result()
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client of one test, with connections of its own."""
        made = TestClient(self._server)
        try:
            yield made
        finally:
            await made.session.close()  # and not the server, which stands
