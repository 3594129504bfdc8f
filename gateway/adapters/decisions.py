"""Who the bearer of a token was found to be, remembered while finding out again would say the same.

A token is remembered by its digest, never as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.model import Consumer

MAX_REMEMBERED = 10_000


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Decision:
    """Who a caller is; `is_good`: whether to find out again would say so too, now."""

    consumer: Consumer
    is_good: Callable[[], bool] = _always


class Decisions:
    """Decisions by the digest of the token, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, Decision] = OrderedDict()

    def found(self, digest: bytes) -> Decision | None:
        """What was decided; None when nothing was, or it need not be true any more."""
        decision = self._made.get(digest)
        if decision is None:
            return None
        if not decision.is_good():
            del self._made[digest]
            return None
        self._made.move_to_end(digest)
        return decision

    def keep(self, digest: bytes, decision: Decision) -> None:
        """Remembers a decision."""
        self._made[digest] = decision
        self._made.move_to_end(digest)
        if len(self._made) > MAX_REMEMBERED:
            self._made.popitem(last=False)
