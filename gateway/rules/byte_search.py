"""Bytes looked for in many more bytes, by libc where there is nothing to be found.

What an archive streams is searched as it comes, and mostly in vain. libc's memmem needs less than
half of the time that Python's own search does for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_WORTH_A_CALL_BYTES = 1 << 12
_Looking = Callable[[bytes, int, bytes, int], int | None]


def _looking() -> _Looking | None:
    """memmem(3), under the lock of the interpreter; None: this system has none."""
    found = getattr(ctypes.pythonapi, "memmem", None)
    if found is not None:
        found.argtypes = (ctypes.c_char_p, ctypes.c_size_t) * 2
        found.restype = ctypes.c_void_p
    return found


_memmem = _looking()


def find(data: bytes, text: bytes, start: int) -> int:
    """Where `text` begins in `data`, from `start` on; -1: nowhere. The same as `data.find`."""
    is_long = start == 0 and len(data) >= _WORTH_A_CALL_BYTES
    if is_long and _memmem is not None and not _memmem(data, len(data), text, len(text)):
        return -1
    return data.find(text, start)
