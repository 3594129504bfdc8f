"""The worker process that draws: orders on standard input, pictures on standard output.

An order is a header (JSON after its length); what is to be drawn lies on a desk, a file in memory
whose descriptor is the only argument. An answer is a header and as many bytes as its `size` says;
the first one, unasked, tells what the process has given up by then. What decoders do to this
process (crash, leak, loop) stays here: its limits kill it, and only it.
"""

from __future__ import annotations

import codecs
import gc
import os
import signal
import struct
import sys
import time
from typing import Any, BinaryIO

import orjson

from gateway.adapters import confinement
from gateway.adapters.desk import View

NICENESS = 5
"""How much these processes step back behind the one that answers requests."""
COSTLY_SECONDS = 1.0
"""Processor time from which on it is told that something took so much and came to nothing."""
KEEPING_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
"""So that the pages of one picture serve the next: new ones cost as much as drawing."""
LENGTH = struct.Struct(">I")


def message(header: dict[str, Any]) -> bytes:
    """A header as it goes through the pipe."""
    written = orjson.dumps(header)
    return LENGTH.pack(len(written)) + written


def main() -> None:
    """Draw until nobody can order any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, pictures = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    confinement.keep_only(orders.fileno(), pictures.fileno(), int(sys.argv[1]))
    confinement.limit_memory()
    drawing = _loaded()
    gc.freeze()  # all of this stays; looking through it again and again costs
    desk = View(int(sys.argv[1]))
    os.nice(NICENESS)  # from here on: whoever waits for the first picture has waited enough
    confinement.silence()
    _answer(pictures, {"given_up": confinement.give_up()}, b"")
    while (prefix := orders.read(LENGTH.size)) and len(prefix) == LENGTH.size:
        header = orjson.loads(orders.read(LENGTH.unpack(prefix)[0]))
        confinement.limit_cpu(header.pop("cpu_seconds"))
        _answer(pictures, *_done(drawing, header, desk))


def _loaded() -> Any:
    """All that is ever needed, since later on no file can be opened."""
    import imagecodecs
    import numpy.ma
    from PIL import Image
    from pydicom.charset import python_encoding

    from gateway.adapters import animation, dicom_files, documents, drawing

    Image.init()
    for encoding in set(python_encoding.values()):
        codecs.lookup(encoding)
    dicom_files.hush()
    _ = (imagecodecs.jpeg8_decode, imagecodecs.jpegxl_decode)  # loaded when named
    _ = (numpy.ma, animation, documents)
    return drawing


def _answer(pictures: BinaryIO, answer: dict[str, Any], picture: bytes) -> None:
    pictures.write(message({**answer, "size": len(picture)}) + picture)
    pictures.flush()


def _done(drawing: Any, header: dict[str, Any], desk: View) -> tuple[dict[str, Any], bytes]:
    """The answer to one order, whatever the content does to those who read it."""
    began = time.process_time()
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
        elif work == "animate":
            from gateway.adapters import animation

            picture, width, height = animation.animate(contents[0], order)
        else:
            picture, width, height = getattr(drawing, work)(contents[0], order)
    except Exception as error:
        is_reason = isinstance(error, drawing.Undrawable)
        told = str(error) if is_reason else f"it cannot be decoded ({type(error).__name__})"
        is_costly = time.process_time() - began > COSTLY_SECONDS
        return {"error": told, "is_costly": is_costly and told not in drawing.BY_REQUEST}, b""
    return {"width": width, "height": height}, picture


def _read_order(drawing: Any, header: dict[str, Any]) -> Any:
    window = header.pop("window")
    return drawing.Order(**header, window=drawing.Window(**window) if window else None)


if __name__ == "__main__":
    main()
    sys.exit(0)
