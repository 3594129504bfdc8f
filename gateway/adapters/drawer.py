"""One process that draws, from the outside: its pipes, its desk, and its end.

An answer is put together as its bytes come, and wakes who waits for it once.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from typing import Any, cast

import orjson

from gateway.adapters import confinement
from gateway.adapters.desk import Desk
from gateway.adapters.picture_process import KEEPING_MEMORY, LENGTH, message

START_SECONDS = 20.0
SENSELESS = (OSError, EOFError, ValueError, LookupError, TypeError)
"""What an answer raises that was cut, or came of a process that is no longer itself."""
_MODULE = "gateway.adapters.picture_process"
_BURIAL_SECONDS = 1.0
_MOST_TOLD, _MOST_ANSWERED = 2**16, 256 * 2**20
Answer = tuple[dict[str, Any], bytes]


class Drawer(asyncio.SubprocessProtocol):
    """A process, ready for one order after the other; whoever started it ends it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.given_up: frozenset[str] = frozenset()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._ended: asyncio.Future[None] = loop.create_future()
        self._answer: asyncio.Future[Answer] = loop.create_future()
        self._told = bytearray()

    @classmethod
    async def started(cls) -> Drawer:
        """One that has told what it gave up. TimeoutError, or one of `SENSELESS`."""
        desk = Desk()
        try:
            _, drawer = await asyncio.get_running_loop().subprocess_exec(
                lambda: cls(desk),
                *(sys.executable, "-P", "-m", _MODULE, str(desk.descriptor)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=None,
                env=confinement.environment() | KEEPING_MEMORY,
                pass_fds=(desk.descriptor,),
            )
        except BaseException:
            desk.close()
            raise
        try:
            told, _ = await drawer._next(START_SECONDS)
            drawer.given_up = frozenset(told["given_up"])
        except BaseException:
            await asyncio.shield(drawer.end())
            raise
        return drawer

    async def answered(self, order: dict[str, Any], seconds: float) -> Answer:
        """What it answers to an order. TimeoutError after `seconds`, or one of `SENSELESS`."""
        if self._orders.is_closing():
            raise EOFError
        self._orders.write(message(order))
        return await self._next(seconds)

    @property
    def has_ended(self) -> bool:
        """Whether there is nobody any more who could draw."""
        return self._ended.done() or self._process.get_returncode() is not None

    async def fate(self) -> int | None:
        """How a process ended whose pipe is closed; None: it did not."""
        await asyncio.wait((self._ended,), timeout=_BURIAL_SECONDS)
        return self._process.get_returncode()

    async def end(self) -> None:
        """Kill and bury it."""
        if not self.has_ended:
            self._process.kill()
        self._orders.close()
        await asyncio.wait((self._ended,))
        self._process.close()
        self.desk.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has started."""
        self._process = cast("asyncio.SubprocessTransport", transport)
        self._orders = cast("asyncio.WriteTransport", self._process.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        """More of an answer; nothing is kept of what nobody asked for."""
        if self._answer.done():
            return
        self._told += cast("bytes", data)
        try:
            found = _answer(self._told)
        except SENSELESS as error:
            self._fail(error)
        else:
            if found is not None:
                self._told.clear()
                self._answer.set_result(found)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """There will be no more answers."""
        self._fail(EOFError())

    def process_exited(self) -> None:
        """It has ended, by itself or not."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def _next(self, seconds: float) -> Answer:
        timer = self._loop.call_later(seconds, self._fail, TimeoutError())
        try:
            return await self._answer
        finally:
            timer.cancel()
            self._answer = self._loop.create_future()

    def _fail(self, error: BaseException) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # perhaps nobody waits for it


def _answer(told: bytearray) -> Answer | None:
    """A header and its body, None while there is more to come; one of `SENSELESS`."""
    if len(told) < LENGTH.size:
        return None
    after = LENGTH.size + _within(LENGTH.unpack_from(told)[0], _MOST_TOLD)
    if len(told) < after:
        return None
    header: dict[str, Any] = orjson.loads(told[LENGTH.size : after])
    end = after + _within(header["size"], _MOST_ANSWERED)
    return (header, bytes(told[after:end])) if len(told) >= end else None


def _within(size: int, most: int) -> int:
    if not 0 <= size <= most:
        raise ValueError("no such answer")
    return size
