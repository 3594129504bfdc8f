"""The WADO-URI service of an archive (PS3.18 §9): objects, pictures, and what it alone does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager

from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters.http_client import ArchiveClient
from gateway.adapters.http_response import Response
from gateway.at_hand import AtHand, held
from gateway.config import DicomwebArchive
from gateway.errors import NotAcceptable, NotSupported
from gateway.model import Part, Target
from gateway.rules import media, rendering

_Pairs = Sequence[tuple[str, str]]


class WadoUriService:
    """The service at `address`, and which of the options that the gateway lacks it carries out."""

    def __init__(
        self, archive: str, address: str, client: ArchiveClient, options: Collection[str] = ()
    ) -> None:
        self.archive = archive
        self.client = client
        self._address = address
        self._options = frozenset(options)

    @asynccontextmanager
    async def opened(
        self, target: Target, content_type: str, more: _Pairs = ()
    ) -> AsyncIterator[Response]:
        """The answer for one instance as `content_type`, its body unread."""
        pairs = (
            ("requestType", "WADO"),
            ("studyUID", target.study_uid),
            ("seriesUID", target.series_uid or ""),
            ("objectUID", target.instance_uid or ""),
            ("contentType", content_type),
            *more,
        )
        async with self.client.get(
            self._address, (), pairs, accept=content_type, is_stream=True
        ) as response:
            yield response

    @asynccontextmanager
    async def own(
        self, target: Target, content_type: str, parameters: _Pairs
    ) -> AsyncIterator[AsyncIterator[Part]]:
        """The service's own answer to `parameters`; NotAcceptable: it does not do what they ask.

        Archives mislabel pictures: what came is told from its first bytes.
        """
        if not rendering.options(dict(parameters)) <= self._options:
            raise NotAcceptable("no archive that holds it does what is asked for")
        async with self.opened(target, content_type, parameters) as response:
            if content_type != media.DICOM:
                body = await bodies.picture(response, self.archive)
                yield AtHand((held(body, bodies.picture_type(body)),))
                return
            found = bodies.parts(
                response.headers.get("Content-Type", ""),
                response.length,
                response,
                kind=media.DICOM,
                archive=self.archive,
                has_end=response.has_end,
            )
            async with aclosing(found) as parts, aclosing(bodies.files(parts, self.archive)) as own:
                yield own

    async def picture(self, target: Target, width: int, height: int) -> bytes:
        """The service's JPEG, which may be larger than asked.

        NotAcceptable, NotFound or ArchiveBadAnswer: it has none to give. NotSupported: archives
        ignore frameNumber, of another frame than the first no picture would be believed.
        """
        if target.instance_uid is None or target.frames not in {(), (1,)}:
            raise NotSupported("WADO-URI shows the first frame of an instance")
        box = (("rows", str(height)), ("columns", str(width)))
        async with self.opened(target, media.JPEG, box) as response:
            return await bodies.picture(response, self.archive)


def of(archive: str, section: DicomwebArchive, client: ArchiveClient) -> WadoUriService | None:
    """The WADO-URI service of an archive by its section; None: it has none."""
    if section.wado_uri is None:
        return None
    return WadoUriService(archive, section.wado_uri, client, section.wado_uri_options)
