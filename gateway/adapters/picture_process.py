"""The worker process that draws: orders on standard input, pictures on standard output.

A message is the length of a header, the header (JSON), and as many bytes as its `size` says. What
decoders do to this process (crash, leak, loop) stays here: its limits kill it, and only it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

MAX_MEMORY_BYTES = 2 * 2**30
CPU_SECONDS = 10
LENGTH = struct.Struct(">I")


def message(header: dict[str, Any], body: bytes = b"") -> bytes:
    """A message as it goes through the pipe, without its body."""
    written = json.dumps({**header, "size": len(body)}).encode()
    return LENGTH.pack(len(written)) + written


def main() -> None:
    """Draw until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, pictures = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from gateway.adapters import dicom_files, drawing

    dicom_files.hush()
    while (prefix := orders.read(LENGTH.size)) and len(prefix) == LENGTH.size:
        header = json.loads(orders.read(LENGTH.unpack(prefix)[0]))
        content = orders.read(header.pop("size"))
        _limit_cpu()
        _answer(pictures, *_done(drawing, header, content))


def _limit_cpu() -> None:
    """Let this order use `CPU_SECONDS` more than was used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _done(drawing: Any, header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """The answer to one order. This is the entry of a process: whatever is raised ends here."""
    work = drawing.fit if header.pop("work") == "fit" else drawing.draw
    window = header.pop("window", None)
    try:
        order = drawing.Order(**header, window=tuple(window) if window else None)
        picture, width, height = work(content, order)
    except drawing.Undrawable as reason:
        return {"error": str(reason)}, b""
    except Exception as error:
        return {"error": f"it cannot be decoded ({type(error).__name__})"}, b""
    return {"width": width, "height": height}, picture


def _answer(pictures: BinaryIO, header: dict[str, Any], picture: bytes) -> None:
    pictures.write(message(header, picture) + picture)
    pictures.flush()


if __name__ == "__main__":
    main()
    sys.exit(0)
