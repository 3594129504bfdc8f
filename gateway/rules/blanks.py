"""Text with blanks: what is the same each time is written once, the rest is filled in."""

from __future__ import annotations

from collections.abc import Mapping


class Blanks:
    """A text that is filled in again and again."""

    __slots__ = ("_form",)

    def __init__(self, text: bytes, blanks: Mapping[bytes, bytes]) -> None:
        """`text` holds, for each name in `blanks`, its mark where the value belongs."""
        form = text.replace(b"%", b"%%")
        for name, mark in blanks.items():
            form = form.replace(mark, b"%%(%b)b" % name)
        self._form = form

    def filled(self, values: Mapping[bytes, bytes]) -> bytes:
        """The text with `values` by the names of their blanks."""
        return self._form % values
