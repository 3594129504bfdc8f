"""The worker process that draws: orders on standard input, pictures on standard output.

An order is a header (JSON after its length); what is to be drawn lies on a desk, a file in memory
whose descriptor is the only argument. An answer is a header and as many bytes as its `size` says.
What decoders do to this process (crash, leak, loop) stays here: its limits kill it, and only it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from typing import Any

from gateway.adapters.desk import View

MAX_MEMORY_BYTES = 2**30
CPU_SECONDS = 10
NICENESS = 5
"""How much these processes step back behind the one that answers requests."""
LENGTH = struct.Struct(">I")


def message(header: dict[str, Any]) -> bytes:
    """A header as it goes through the pipe."""
    written = json.dumps(header).encode()
    return LENGTH.pack(len(written)) + written


def main() -> None:
    """Draw until nobody can order any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, pictures = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    from gateway.adapters import dicom_files, drawing

    dicom_files.hush()
    desk = View(int(sys.argv[1]))
    os.nice(NICENESS)  # from here on: whoever waits for the first picture has waited enough
    while (prefix := orders.read(LENGTH.size)) and len(prefix) == LENGTH.size:
        header = json.loads(orders.read(LENGTH.unpack(prefix)[0]))
        _limit_cpu()
        answer, picture = _done(drawing, header, desk)
        pictures.write(message({**answer, "size": len(picture)}) + picture)
        pictures.flush()


def _limit_cpu() -> None:
    """Let this order use `CPU_SECONDS` more than was used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _done(drawing: Any, header: dict[str, Any], desk: View) -> tuple[dict[str, Any], bytes]:
    """The answer to one order, whatever the content does to those who read it."""
    work, sizes, syntax = (header.pop(name) for name in ("work", "sizes", "syntax"))
    try:
        contents = desk.contents(sizes)
        if work == "read":
            from gateway.adapters import documents

            body, media_type = documents.read(contents[0], header["media_types"])
            return {"media_type": media_type}, body
        order = _read_order(drawing, header)
        if work == "frame":
            metadata, frame = contents
            picture, width, height = drawing.draw_frame(metadata, frame, syntax, order)
        else:
            picture, width, height = getattr(drawing, work)(contents[0], order)
    except drawing.Undrawable as reason:
        return {"error": str(reason)}, b""
    except Exception as error:
        return {"error": f"it cannot be decoded ({type(error).__name__})"}, b""
    return {"width": width, "height": height}, picture


def _read_order(drawing: Any, header: dict[str, Any]) -> Any:
    window = header.pop("window")
    return drawing.Order(**header, window=drawing.Window(**window) if window else None)


if __name__ == "__main__":
    main()
    sys.exit(0)
