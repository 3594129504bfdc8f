"""Archives as adapters, made by a test and closed after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.adapters.archive_dicomweb import DicomwebArchive
from tests.adapters.clients import Made
from tests.adapters.clients import archive as made_archive


@pytest.fixture
async def make() -> AsyncIterator[Made]:
    """Makes archives, and closes them."""
    made: list[DicomwebArchive] = []

    def one(base: str, **changes: Any) -> DicomwebArchive:
        made.append(made_archive(base, **changes))
        return made[-1]

    yield one
    for each in made:
        await each.close()
