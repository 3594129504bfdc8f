"""Small values that are remembered for as long as there is room for them."""

from __future__ import annotations

from collections import OrderedDict

OVERHEAD_BYTES = 400
"""What a value costs besides its key and itself."""


class Lasting:
    """Small values that are not loaded again, the least recently used forgotten first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self.bytes_held = 0

    def value(self, key: str) -> bytes | None:
        """What is remembered under `key`, if it still is."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Remembers `value` under `key`."""
        self._remove(key)
        self._values[key] = value
        self.bytes_held += len(key) + len(value) + OVERHEAD_BYTES
        while self.bytes_held > self._max_bytes:
            self._remove(next(iter(self._values)))

    def _remove(self, key: str) -> None:
        if (value := self._values.pop(key, None)) is not None:
            self.bytes_held -= len(key) + len(value) + OVERHEAD_BYTES
