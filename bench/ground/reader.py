"""One kept connection to a server, and how long its answers take."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Sequence

_PATIENCE_SECONDS = 120


class Reader:
    """Asks one thing after the other; SystemExit for whatever is not answered with 2xx."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)

    def read(self, path: str, *, method: str = "GET", **fields: str) -> bytes:
        """The body of an answer; `accept_encoding="gzip"` for a field."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        self._connection.request(method, path, None, {"Accept-Encoding": "identity"} | headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {body[:500]!r}")
        return body

    def seconds(self, path: str) -> float:
        """How long one answer takes until it is there."""
        started = time.perf_counter()
        self.read(path)
        return time.perf_counter() - started

    def median_seconds(self, path: str, count: int) -> float:
        """The median of so many answers."""
        return statistics.median(self.seconds(path) for _ in range(count))

    def forget(self, study: str) -> None:
        """Lets a gateway forget all that it knows of a study."""
        self.read(f"/hooks/studies/{study}", method="POST")

    def close(self) -> None:
        """Lets go of the connection."""
        self._connection.close()


def percentile(found: Sequence[float], percent: int) -> float:
    """What so many of 100 are not above."""
    return statistics.quantiles(found, n=100)[percent - 1]
