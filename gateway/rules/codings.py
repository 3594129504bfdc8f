"""The content coding of text that goes out, by Accept-Encoding (RFC 9110 §12.5.3)."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

from gateway.errors import NotAcceptable

_MEMBER = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Z-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.I | re.ASCII
)
_IF_NOTHING_ELSE = 0.0001


class Coding(enum.Enum):
    """The codings that are offered, the best first."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


def coding(accept_encoding: Sequence[str]) -> Coding:
    """The coding that is liked best; of those liked the same, the first that is offered.

    zstd only where it is named: not everybody who takes anything can read it. Whoever says nothing
    gets none. NotAcceptable: identity is refused, and nothing offered is accepted.
    """
    liked = _qualities(",".join(accept_encoding))
    anything = liked.get("*")
    quality = {
        Coding.ZSTD: liked.get("zstd", 0.0),
        Coding.GZIP: liked.get("gzip", liked.get("x-gzip", anything or 0.0)),
        Coding.IDENTITY: liked.get("identity", _IF_NOTHING_ELSE if anything is None else anything),
    }
    best = max(Coding, key=lambda one: quality[one])
    if not quality[best]:
        raise NotAcceptable("Accept-Encoding must allow zstd, gzip or identity")
    return best


def _qualities(text: str) -> Mapping[str, float]:
    """How much each coding is liked; members that cannot be read are passed over."""
    found = (_MEMBER.fullmatch(member) for member in text.split(","))
    return {one[1].lower(): min(float(one[2] or 1), 1.0) for one in found if one is not None}
