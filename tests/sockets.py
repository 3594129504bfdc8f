"""Which addresses this process connects to, as the interpreter itself tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


class Sockets:
    """The addresses, as (host, port), since it was made, except local sockets of the system."""

    def __init__(self) -> None:
        self.addresses: set[tuple[str, int]] = set()


_listening: list[Sockets] = []


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and _listening:
        address = arguments[1]
        if isinstance(address, tuple):
            for one in _listening:
                one.addresses.add((str(address[0]), int(address[1])))


@contextmanager
def listening() -> Iterator[Sockets]:
    """Tells of connections while it is open; audit hooks cannot be taken back."""
    _hook()
    made = Sockets()
    _listening.append(made)
    try:
        yield made
    finally:
        _listening.remove(made)


@cache
def _hook() -> None:
    sys.addaudithook(_heard)
