"""When it is cheaper to ask an archive for all instances of a series than for one after the other.

A viewer asks for them one by one, each of which costs a search before it; someone who wants a
single one is not to pay for thousands. So the searches for single ones are counted, and once they
have cost about as much as a listing does, that is asked for instead.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_SERIES = 10_000
LEAST_ASKED = 3
"""Searches that are made before a listing is thought of."""
ROWS_OF_A_SEARCH = 40
"""A search for one instance costs an archive as much as so many rows of a listing."""
UNKNOWN_ROWS = 1000
"""Rows that a listing is taken to have where the archive does not count."""


class AskedInstances:
    """How many instances of each series archives were asked for of late."""

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[str, str], int] = OrderedDict()

    def is_listing_due(self, archive: str, series_uid: str, rows: int | None) -> bool:
        """Counts one more; whether now it is better to ask for all `rows`, None: not known."""
        key = archive, series_uid
        self._asked[key] = asked = self._asked.pop(key, 0) + 1
        if len(self._asked) > MOST_SERIES:
            self._asked.popitem(last=False)
        worth = (UNKNOWN_ROWS if rows is None else rows) // ROWS_OF_A_SEARCH
        return asked > max(LEAST_ASKED, worth)
