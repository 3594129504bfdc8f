"""A TCP proxy that lets answers wait, or nothing pass at all."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from tests.loopback import LoopbackServer

SUBSCRIPTION = "subscription"
DATA = "data"
BOTH = frozenset({SUBSCRIPTION, DATA})


@dataclass(slots=True)
class _Link:
    """A connection, and what it is used for by what was sent on it."""

    kind: str = DATA


class DelayingProxy(LoopbackServer):
    """Passes bytes on to a port of this machine; what comes back waits for `seconds`.

    Nothing passes on connections of the kinds in `stalled`, be they old or new.
    """

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.stalled: frozenset[str] = frozenset()
        self._target = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on what comes on one connection, both ways."""
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target)
        link = _Link()
        try:
            await asyncio.gather(
                self._pass(link, reader, back_writer, is_back=False),
                self._pass(link, back_reader, writer, is_back=True),
            )
        finally:
            back_writer.close()

    async def _pass(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_back: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                if b"\nSUBSCRIBE" in chunk:
                    link.kind = SUBSCRIPTION
                await asyncio.sleep(self.seconds if is_back else 0)
                while link.kind in self.stalled:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.005)
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
