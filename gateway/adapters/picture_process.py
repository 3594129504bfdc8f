"""The worker process that draws: orders on standard input, pictures on standard output.

An order is a header (JSON after its length) and the descriptor of a file that holds what is to be
drawn; an answer is a header and as many bytes as its `size` says. What decoders do to this process
(crash, leak, loop) stays here: its limits kill it, and only it.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any, BinaryIO

MAX_MEMORY_BYTES = 2**30
CPU_SECONDS = 10
LENGTH = struct.Struct(">I")
_MAX_HEADER_BYTES = 2**16


def message(header: dict[str, Any]) -> bytes:
    """A header as it goes through the pipe."""
    written = json.dumps(header).encode()
    return LENGTH.pack(len(written)) + written


def main() -> None:
    """Draw until nobody can order any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, pictures = socket.socket(fileno=os.dup(0)), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    from gateway.adapters import dicom_files, drawing

    dicom_files.hush()
    while (order := _order(orders)) is not None:
        header, descriptor = order
        _limit_cpu()
        try:
            answer, picture = _done(drawing, header, descriptor)
        finally:
            os.close(descriptor)
        pictures.write(message({**answer, "size": len(picture)}) + picture)
        pictures.flush()


def _order(orders: socket.socket) -> tuple[dict[str, Any], int] | None:
    """The next header and the descriptor that came with it; None: there will be none."""
    read, descriptors, _, _ = socket.recv_fds(orders, _MAX_HEADER_BYTES, 1)
    if not read:
        return None
    length = LENGTH.unpack(read[: LENGTH.size])[0]
    while len(read) < LENGTH.size + length:
        read += orders.recv(_MAX_HEADER_BYTES)
    return json.loads(read[LENGTH.size :]), descriptors[0]


def _limit_cpu() -> None:
    """Let this order use `CPU_SECONDS` more than was used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _done(drawing: Any, header: dict[str, Any], descriptor: int) -> tuple[dict[str, Any], bytes]:
    """The answer to one order, whatever the content does to those who read it."""
    work, sizes, syntax = (header.pop(name) for name in ("work", "sizes", "syntax"))
    try:
        order = _read_order(drawing, header)
        with _held(descriptor, sum(sizes)) as content:
            if work == "frame":
                metadata, frame = content.read(sizes[0]), content.read(sizes[1])
                picture, width, height = drawing.draw_frame(metadata, frame, syntax, order)
            else:
                picture, width, height = getattr(drawing, work)(content, order)
    except drawing.Undrawable as reason:
        return {"error": str(reason)}, b""
    except Exception as error:
        return {"error": f"it cannot be decoded ({type(error).__name__})"}, b""
    return {"width": width, "height": height}, picture


def _read_order(drawing: Any, header: dict[str, Any]) -> Any:
    window = header.pop("window")
    return drawing.Order(**header, window=drawing.Window(**window) if window else None)


def _held(descriptor: int, size: int) -> BinaryIO:
    """The content as a file in memory; MemoryError when it does not fit."""
    if not size:
        raise EOFError
    held: Any = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    return held  # type: ignore[no-any-return]  # it reads, seeks and tells as a file does


if __name__ == "__main__":
    main()
    sys.exit(0)
