"""The process that reads DICOM files: orders come with a descriptor of the file they are about.

An order is a header (JSON after its length) on a socket whose descriptor is the only argument; an
answer is a header and as many bytes as its `size` says. The first answer, unasked, tells what the
process has given up. What a file does to this process stays here: its limits kill it, and only it.
"""

from __future__ import annotations

import array
import codecs
import contextlib
import os
import signal
import socket
import struct
import sys
from typing import Any

import orjson

from gateway.adapters import confinement

LENGTH = struct.Struct(">I")
_DESCRIPTORS = 2
"""A file that is kept open, and the next one."""


def main() -> None:
    """Read until nobody can order any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confinement.keep_only(int(sys.argv[1]))
    confinement.limit_memory()
    for unused in ("numpy", "PIL", "requests"):  # pydicom would load them, and nothing here does
        sys.modules[unused] = None  # type: ignore[assignment]  # how Python is told so
    from pydicom.charset import python_encoding

    from gateway.adapters import dicom_files
    from gateway.adapters.file_reading import FileReading

    for encoding in set(python_encoding.values()):
        codecs.lookup(encoding)
    dicom_files.hush()
    reading = FileReading()
    with (
        contextlib.suppress(ConnectionError),  # who gave orders went away meanwhile
        socket.socket(fileno=int(sys.argv[1])) as orders,
    ):
        confinement.silence()
        send(orders, {"given_up": confinement.give_up(_DESCRIPTORS)})
        while (received := receive_order(orders)) is not None:
            order, descriptor = received
            confinement.limit_cpu(order["cpu_seconds"])
            send(orders, *reading.done(order, os.fdopen(descriptor, "rb")))


def send(to: socket.socket, header: dict[str, Any], body: bytes = b"") -> None:
    """A header and its body."""
    written = orjson.dumps({**header, "size": len(body)})
    to.sendall(LENGTH.pack(len(written)) + written)
    if body:
        to.sendall(body)


def send_order(to: socket.socket, order: dict[str, Any], file: int) -> None:
    """An order, with the descriptor of its file."""
    written = orjson.dumps(order)
    whole = LENGTH.pack(len(written)) + written
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
    sent = to.sendmsg([whole], rights)
    to.sendall(whole[sent:])


def receive_order(orders: socket.socket) -> tuple[dict[str, Any], int] | None:
    """The next order and the file that it is about; None when there are no more."""
    space = socket.CMSG_SPACE(array.array("i").itemsize)
    prefix, rights, _, _ = orders.recvmsg(LENGTH.size, space)
    if len(prefix) < LENGTH.size or not rights:
        return None
    descriptors = array.array("i", rights[0][2])
    written = receive(orders, LENGTH.unpack(prefix)[0])
    order: dict[str, Any] = orjson.loads(written)
    return order, descriptors[0]


def receive(connected: socket.socket, size: int) -> bytearray:
    """So many bytes; EOFError when there are fewer."""
    found = bytearray(size)
    at = memoryview(found)
    while at:
        count = connected.recv_into(at)
        if not count:
            raise EOFError
        at = at[count:]
    return found


if __name__ == "__main__":
    main()
