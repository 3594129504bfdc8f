"""Pages of a search without state: where each starts, in a token that the links carry."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, replace

from gateway.errors import BadRequest

_DIGEST_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in the order of all candidates: so many items into one slice of it.

    A policy may hide candidates of a slice, so that items cannot be counted across slices.
    """

    offset: int
    limit: int
    skip: int = 0

    def following(self, limit: int) -> Position:
        """The start of the slice after this one, `limit` long."""
        return Position(offset=self.offset + self.limit, limit=limit)

    def after(self, items: int) -> Position:
        """So many items further, in the same slice."""
        return replace(self, skip=self.skip + items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a search: where it and the pages before it start, with the matches before each.

    The first page starts at the beginning and is not among `starts`.
    """

    starts: tuple[Position, ...] = ()
    matches: tuple[int, ...] = ()

    @property
    def start(self) -> Position | None:
        """Where it starts; None: at the beginning."""
        return self.starts[-1] if self.starts else None

    @property
    def matched_before(self) -> int:
        """How many matches the pages before it have."""
        return self.matches[-1] if self.matches else 0

    def next(self, start: Position, matched: int) -> Page:
        """The page after this one, which has so many matches."""
        return Page(
            starts=(*self.starts, start), matches=(*self.matches, self.matched_before + matched)
        )

    def previous(self) -> Page:
        """The page before this one."""
        return Page(starts=self.starts[:-1], matches=self.matches[:-1])


def token(page: Page, seal: str) -> str:
    """A page as an opaque token; `seal` names the search, its version and its caller."""
    quads = zip(page.starts, page.matches, strict=True)
    numbers = [n for at, matched in quads for n in (at.offset, at.limit, at.skip, matched)]
    payload = ".".join(map(str, numbers)).encode()
    return base64.urlsafe_b64encode(_digest(payload, seal) + payload).decode().rstrip("=")


def page(text: str, seal: str) -> Page:
    """The page that a token stands for; BadRequest for one of another search or caller."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    payload = raw[_DIGEST_BYTES:]
    if not payload or raw[:_DIGEST_BYTES] != _digest(payload, seal):
        raise BadRequest("_page does not belong to this search", parameter="_page")
    numbers = [int(number) for number in payload.decode().split(".")]
    quads = [numbers[at : at + 4] for at in range(0, len(numbers), 4)]
    return Page(
        starts=tuple(Position(offset=o, limit=n, skip=s) for o, n, s, _ in quads),
        matches=tuple(matched for *_, matched in quads),
    )


def _digest(payload: bytes, seal: str) -> bytes:
    return hashlib.blake2b(seal.encode() + b"\0" + payload, digest_size=_DIGEST_BYTES).digest()
