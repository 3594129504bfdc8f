"""What this process connects to, and which names it looks up, as the interpreter itself tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


class Sockets:
    """What was heard since it was made, except of local sockets of the system."""

    def __init__(self) -> None:
        self.addresses: set[tuple[str, int]] = set()
        """What was connected to, as (host, port)."""
        self.names: set[str] = set()
        """What was looked up."""


_listening: list[Sockets] = []


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    for one in _listening:
        if event == "socket.connect" and isinstance(address := arguments[1], tuple):
            one.addresses.add((str(address[0]), int(address[1])))
        if event == "socket.getaddrinfo":
            one.names.add(str(arguments[0]))


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
