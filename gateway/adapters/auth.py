"""Who asks: the place where a request's credentials become a `Consumer`."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config import Settings
from gateway.errors import Unauthorized
from gateway.model import Consumer

OPEN = Consumer(id="open")
"""Everybody, where nobody is asked who they are: nothing is hidden from them."""


def consumer(headers: Mapping[str, str], settings: Settings) -> Consumer:
    """The caller behind `headers`; Unauthorized when callers must be known, and this one is not.

    In `auth.mode: open` everybody is the same consumer and credentials are not looked at. Where
    callers must be known nobody is yet, so that nothing is shown by mistake.
    """
    del headers
    if settings.auth.mode == "open":
        return OPEN
    raise Unauthorized("the caller is not known")
