"""Servers that are asked the same in turns, and how much CPU that takes each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from bench.ground.load import cpu_per_request
from bench.ground.sums import rounds


class Serving(Protocol):
    """A running server."""

    port: int

    @property
    def pid(self) -> int:
        """Its process id."""


def cpu_in_turns(
    running: Mapping[str, Serving],
    request: bytes,
    requests: int,
    *,
    asked: Callable[[], int],
    count: int,
) -> tuple[list[dict[str, float]], int]:
    """CPU seconds of one of `requests`, round by round; and what all cost the archive.

    `asked`: how many requests that has had.
    """
    before = asked()
    measures = {
        name: partial(cpu_per_request, one.pid, one.port, request, requests)
        for name, one in running.items()
    }
    done = rounds(count, measures)
    return done, asked() - before
