"""How often an archive is asked once more: in proportion to how often it is asked at all."""

from __future__ import annotations

COST = 5
"""A question is asked once more for every so many questions: one in five, 20 %."""
MOST_SAVED = 10
"""Retries that may come at once after a long time without any."""
AT_FIRST = 2
"""Retries that may come before enough was asked: a connection may have ended while it was idle."""


class Retries:
    """The budget of one archive. An archive that is down is not asked twice by everybody."""

    def __init__(self) -> None:
        self._saved = AT_FIRST * COST

    def asked(self) -> None:
        """A question was asked."""
        if self._saved < MOST_SAVED * COST:
            self._saved += 1

    def taken(self) -> bool:
        """Whether one may be asked once more, which this counts as done."""
        if self._saved < COST:
            return False
        self._saved -= COST
        return True
