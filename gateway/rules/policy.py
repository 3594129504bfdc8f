"""What exists for whom. Every answer passes here, after the cache and on every surface.

Until consumers and their policies are told apart, everything exists for everyone who is let in;
`adapters.config_file` therefore lets in nobody but loopback unless told so explicitly.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model import Consumer, Study
from gateway.rules.dicom_json import Dataset


def visible(consumer: Consumer, study: Study) -> Study | None:
    """The part of `study` that exists for `consumer`; None when nothing of it does."""
    return study


def visible_rows(consumer: Consumer, rows: Sequence[Dataset]) -> Sequence[Dataset]:
    """The search rows that exist for `consumer`, their counts and lists recomputed."""
    return rows
