"""Ranges of bytes of single parts, from archives that know them (RFC 9110 §14)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters.http_client import ArchiveClient
from gateway.adapters.http_response import Response
from gateway.errors import ArchiveBadAnswer, NotAcceptable, NotFound, RangeNotSatisfiable
from gateway.model import ByteRange, Part
from gateway.rules import byte_ranges

_NO_RANGES_SECONDS = 3600.0


class Ranges:
    """What the WADO-RS service at `base` gives of single parts."""

    def __init__(
        self, base: str, client: ArchiveClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._base = base
        self._client = client
        self._clock = clock
        self._none_before: dict[str, float] = {}

    @asynccontextmanager
    async def part(
        self,
        segments: Sequence[str],
        parameters: Sequence[tuple[str, str]],
        accept: str,
        byte_range: ByteRange,
    ) -> AsyncIterator[Part | None]:
        """Exactly the range asked for; None: the archive gives none.

        Whoever sent something else is not asked again for a while: most archives know no ranges.
        RangeNotSatisfiable as the archive says.
        """
        if self._clock() < self._none_before.get(accept, 0.0):
            yield None
            return
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(
                    self._client.get(
                        self._base,
                        segments,
                        parameters,
                        accept=accept,
                        is_stream=True,
                        byte_range=byte_ranges.field(byte_range),
                    )
                )
                part = self._given(response, byte_range)
            except (ArchiveBadAnswer, NotAcceptable) as error:
                if isinstance(error, ArchiveBadAnswer) and error.answered == 416:
                    raise RangeNotSatisfiable("the range lies outside of the body") from error
                part = None
            except NotFound:  # it may be found in another way
                yield None
                return
            if part is None:
                self._none_before[accept] = self._clock() + _NO_RANGES_SECONDS
                await stack.aclose()  # its place is needed for asking for the whole
            yield part

    def _given(self, response: Response, wanted: ByteRange) -> Part | None:
        """The range that an answer holds; None where it is not, word for word, what was asked."""
        kind = response.headers.get("Content-Type", "")
        span = byte_ranges.given(response.headers.get("Content-Range"), wanted)
        if response.status != 206 or span is None or response.length != span.length:
            return None
        if not bodies.is_object(kind) or "Content-Encoding" in response.headers:
            return None
        return Part(
            content_type=kind,
            chunks=response,
            length=span.length,
            span=span,
            takes_ranges=True,
        )
