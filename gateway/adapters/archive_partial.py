"""An archive that speaks a part of DICOMweb: what it holds is asked of one, its objects of another.

told by     its QIDO-RS, or a FHIR server that holds its ImagingStudy resources
given by    its WADO-RS, or its WADO-URI
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.adapters.http_client import ArchiveClient
from gateway.model import ByteRange, Contents, Found, Origin, Part, Rung, Study, Target
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query


class Holdings(Protocol):
    """Tells what there is; the words are those of `fan_out.Archive`."""

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        """The rows that match."""

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        """The study and its series."""

    async def instances(self, study: Study) -> Contents:
        """The instances of a study."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class Objects(Protocol):
    """Gives what there is; the words are those of `fan_out.Archive`."""

    async def metadata(self, target: Target) -> list[bytes]:
        """One DICOM JSON object for each instance."""

    def retrieve(
        self, target: Target, transfer_syntax: str = "*", byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The instances, or frames."""

    def bulk_data(
        self, target: Target, path: tuple[str, ...], byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The value of an attribute."""

    async def picture(
        self, target: Target, rung: Rung, width: int, height: int, media_type: str
    ) -> bytes:
        """A picture of its own."""

    def by_wado_uri(
        self, target: Target, content_type: str, parameters: Sequence[tuple[str, str]]
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """Its own WADO-URI answer."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class PartialArchive:
    """The `Archive` of the catalog for `type: dicomweb` without QIDO-RS or without WADO-RS."""

    def __init__(
        self, origin: Origin, holdings: Holdings, objects: Objects, client: ArchiveClient
    ) -> None:
        self.id = origin.archive
        self._client = client
        self.origin = origin
        self._holdings = holdings
        self._objects = objects

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        """The rows that match."""
        return await self._holdings.search(query, wanted)

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        """The study and its series; None: it has no such study."""
        return await self._holdings.study(study_uid, row)

    async def instances(self, study: Study) -> Contents:
        """The instances of a study, and what only they tell of their series."""
        return await self._holdings.instances(study)

    async def metadata(self, target: Target) -> list[bytes]:
        """One DICOM JSON object for each instance of `target`."""
        return await self._objects.metadata(target)

    def retrieve(
        self, target: Target, transfer_syntax: str = "*", byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The instances of `target`, or its frames."""
        return self._objects.retrieve(target, transfer_syntax, byte_range)

    def bulk_data(
        self, target: Target, path: tuple[str, ...], byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The value of the attribute at `path`."""
        return self._objects.bulk_data(target, path, byte_range)

    async def picture(
        self, target: Target, rung: Rung, width: int, height: int, media_type: str
    ) -> bytes:
        """The archive's own picture; NotAcceptable, NotFound, ArchiveBadAnswer: it has none."""
        return await self._objects.picture(target, rung, width, height, media_type)

    def by_wado_uri(
        self, target: Target, content_type: str, parameters: Sequence[tuple[str, str]]
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """Its own WADO-URI answer to what the gateway does not do."""
        return self._objects.by_wado_uri(target, content_type, parameters)

    async def close(self) -> None:
        """Lets go of both, and of the connections to the archive."""
        await self._objects.close()
        await self._holdings.close()
        await self._client.close()
