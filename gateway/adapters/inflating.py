"""Inflating what archives send, step by step, so that nothing is inflated without a bound."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

STEP_BYTES = 1 << 17
"""So much is inflated at once; then others get their turn."""
_GZIP = zlib.MAX_WBITS | 16


def inflater(
    encoding: str,
) -> tuple[Callable[[bytes], Iterable[bytes]], Callable[[], bool]] | None:
    """Two functions for a Content-Encoding: chunk → pieces, and whether all came; None: unknown.

    zlib.error where a chunk cannot be inflated.
    """
    kind = encoding.strip().lower()
    if kind in {"", "identity"}:
        return lambda chunk: (chunk,), lambda: True
    if kind not in {"gzip", "x-gzip"}:
        return None
    members = _Members()
    return members.inflated, members.is_whole


class _Members:
    """A gzip file, of which the members follow one another (RFC 1952 §2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=_GZIP)
        self._is_empty = True

    def inflated(self, chunk: bytes) -> Iterator[bytes]:
        """What comes of the next piece, in steps."""
        self._is_empty = False
        has_more = False
        while chunk or has_more:
            if self._member.eof:
                chunk = chunk.lstrip(b"\0")  # as which some fill up
                if not chunk:
                    return
                self._member = zlib.decompressobj(wbits=_GZIP)
            piece = self._member.decompress(chunk, STEP_BYTES)
            yield piece
            is_over = self._member.eof
            has_more = len(piece) == STEP_BYTES and not is_over
            chunk = self._member.unused_data if is_over else self._member.unconsumed_tail

    def is_whole(self) -> bool:
        """Whether all came, or nothing at all."""
        return self._member.eof or self._is_empty
