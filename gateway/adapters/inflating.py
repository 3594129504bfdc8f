"""Inflating what archives send, step by step, so that nothing is inflated without a bound."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

STEP_BYTES = 1 << 17
"""So much is inflated at once; then others get their turn."""


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
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    came = bytearray()  # empty, or one byte: whether there was a body at all

    def inflated(chunk: bytes) -> Iterator[bytes]:
        came[:] = b"."
        while not inflate.eof:
            piece = inflate.decompress(chunk, STEP_BYTES)
            yield piece
            chunk = inflate.unconsumed_tail
            if len(piece) < STEP_BYTES:
                return

    return inflated, lambda: inflate.eof or not came
