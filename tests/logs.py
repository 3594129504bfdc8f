"""What is logged, as it is in a file or at a terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog

from gateway.adapters.telemetry import configure_log


@contextmanager
def logging_to(stream: TextIO) -> Iterator[None]:
    """All that is logged goes to `stream`, as it is told; then as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_log(stream)
    try:
        yield
    finally:
        structlog.reset_defaults()
        root.handlers, root.level = handlers, level
