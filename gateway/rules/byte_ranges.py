"""Range requests (RFC 9110 §14): what is asked for, and which bytes of a body that is."""

from __future__ import annotations

import re

from gateway.errors import RangeNotSatisfiable
from gateway.model import ByteRange, Span

_ONE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18})\s*", re.ASCII | re.I)


def asked(method: str, field: str | None, if_range: str | None) -> ByteRange | None:
    """The one range that a request asks for; None: everything.

    Several ranges, other units and what is malformed are ignored (§14.2), and so is a range under
    the condition that a body is still the same: nothing tells.
    """
    found = _ONE.fullmatch(field or "")
    if method != "GET" or if_range is not None or found is None:
        return None
    first, last = (int(digits) if digits else None for digits in found.groups())
    if (first is None and last is None) or (
        first is not None and last is not None and last < first
    ):
        return None
    return ByteRange(first=first, last=last)


def span(wanted: ByteRange, total: int) -> Span:
    """The bytes of a body of `total` bytes that are `wanted`; RangeNotSatisfiable: it has none."""
    if wanted.first is None:
        first, last = max(total - (wanted.last or 0), 0), total - 1
    else:
        first = wanted.first
        last = total - 1 if wanted.last is None else min(wanted.last, total - 1)
    if first > last:
        raise RangeNotSatisfiable("the range lies outside of the body", total=total)
    return Span(first=first, last=last, total=total)


def field(wanted: ByteRange) -> str:
    """A Range field."""
    ends = ("" if end is None else str(end) for end in (wanted.first, wanted.last))
    return f"bytes={'-'.join(ends)}"


def content_range(given: Span) -> str:
    """A Content-Range field."""
    return f"bytes {given.first}-{given.last}/{given.total}"


def given(content_range: str | None, wanted: ByteRange) -> Span | None:
    """The bytes that an answer says it holds, if these are what was `wanted`; None: others."""
    found = _CONTENT_RANGE.fullmatch(content_range or "")
    if found is None:
        return None
    first, last, total = (int(digits) for digits in found.groups())
    told = Span(first=first, last=last, total=total)
    try:
        return told if span(wanted, total) == told else None
    except RangeNotSatisfiable:
        return None
