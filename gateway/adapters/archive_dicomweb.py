"""An archive that speaks DICOMweb (PS3.18 §10): our words in, its dialect out and back.

Every query and Accept that leaves here is the gateway's own; every answer is checked for being what
was asked for before anything of it is believed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    aclosing,
    asynccontextmanager,
)
from functools import partial

from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters import wado_uri_service
from gateway.adapters.dicomweb_frames import (
    WayToFrames,
    accept_of,
    frames_at_hand,
    parts_at_hand,
    path_of,
)
from gateway.adapters.dicomweb_instances import Instances
from gateway.adapters.dicomweb_ranges import Ranges
from gateway.adapters.dicomweb_search import Searches
from gateway.adapters.dicomweb_study import Studies
from gateway.adapters.http_client import ArchiveClient
from gateway.adapters.http_response import Response
from gateway.at_hand import AtHand, first
from gateway.config import DicomwebArchive as Section
from gateway.errors import (
    ArchiveBadAnswer,
    BadRequest,
    GatewayError,
    NotAcceptable,
    NotFound,
    NotSupported,
)
from gateway.model import (
    ByteRange,
    Contents,
    Found,
    Level,
    Origin,
    Part,
    Rung,
    Study,
    Target,
)
from gateway.opening import Opening
from gateway.rules import (
    bulk_addresses,
    media,
)
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query

_Pairs = Sequence[tuple[str, str]]


class DicomwebArchive:
    """The `Archive` of the catalog for `type: dicomweb`.

    Of one that lacks QIDO-RS or WADO-RS only the other half is asked (`archive_partial`).
    """

    def __init__(self, origin: Origin, section: Section, client: ArchiveClient) -> None:
        self.id = origin.archive
        self.origin = origin
        self._wado = section.wado_rs_base or ""
        self._by_uri = wado_uri_service.of(origin.archive, section, client)
        self._client = client
        self._searches = Searches(self.id, section.qido_rs or "", client)
        is_told = section.study_level == "series"
        self._studies = Studies(origin, self._searches, told_by_series=is_told)
        by_metadata = section.instance_level == "metadata"
        self._instances = Instances(
            origin, self._searches, self._wado, client, by_metadata=by_metadata
        )
        self._ranges = Ranges(self._wado, client)
        self.way_to_frames = partial(WayToFrames, self.id, self._wado, client.asker)

    async def search(self, query: Query, wanted: int | None = None) -> Found[Dataset]:
        """QIDO-RS (PS3.18 §10.6): at least `wanted` matching rows if there are that many."""
        return await self._searches.told(query, wanted)

    async def study(self, study_uid: str, row: Dataset | None = None) -> Study | None:
        """The study and its series; None: it has no such study.

        `row`: of the study, of a search for the same request that asked for the same fields.
        """
        return await self._studies.record(study_uid, row)

    async def instances(self, study: Study) -> Contents:
        """All instances of a study, in one request; its documents by their metadata, for titles."""
        return await self._instances.all_of(study)

    async def metadata(self, target: Target) -> list[bytes]:
        """The metadata of every instance of `target`, one DICOM JSON object each (§10.4.1.1.2)."""
        return await self._instances.metadata(target)

    def retrieve(
        self, target: Target, transfer_syntax: str = media.ANY, byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The instances of `target`, or its frames in the order asked, as they stream in.

        NotFound and NotAcceptable come before the first part.
        """
        return Opening(partial(self._retrieved, target, transfer_syntax, byte_range))

    @asynccontextmanager
    async def bulk_data(
        self, target: Target, path: tuple[str, ...], byte_range: ByteRange | None = None
    ) -> AsyncIterator[AsyncIterator[Part]]:
        """The value of one attribute of an instance (§10.4.1.1.5); NotFound when it has none."""
        element = bulk_addresses.element(await self.metadata(target), path)
        uri = element.get("BulkDataURI") if isinstance(element, dict) else None
        if not isinstance(uri, str) or not uri:
            raise NotFound("no bulk data at this attribute")
        try:
            segments, parameters = bulk_addresses.below(self._wado, path_of(target), uri)
        except BadRequest as error:
            raise ArchiveBadAnswer(f"its BulkDataURI {error}", archive=self.id) from error
        if byte_range is not None:
            accept = f"{media.OCTET_STREAM}, */*;q=0.5"
            async with self._ranges.part(segments, parameters, accept, byte_range) as part:
                if part is not None:
                    yield AtHand((part,))
                    return
        accept = f'{media.MULTIPART}; type="{media.OCTET_STREAM}", */*;q=0.5'
        async with (
            self._client.get(
                self._wado, segments, parameters, accept=accept, is_stream=True
            ) as response,
            aclosing(self._parts(response, media.OCTET_STREAM)) as parts,
        ):
            yield parts

    async def picture(
        self, target: Target, rung: Rung, width: int, height: int, media_type: str
    ) -> bytes:
        """A whole JPEG or PNG, which may be larger than the box.

        NotAcceptable, NotFound or ArchiveBadAnswer: it has none; NotSupported: no such service.
        """
        if rung is Rung.WADO_URI:
            if self._by_uri is None:
                raise NotSupported("the archive has no WADO-URI service")
            return await self._by_uri.picture(target, width, height)
        viewport = (("viewport", f"{width},{height}"),)
        async with self._client.get(
            self._wado, (*path_of(target), rung.value), viewport, accept=media_type, is_stream=True
        ) as response:
            return await bodies.picture(response, self.id)

    def by_wado_uri(
        self, target: Target, content_type: str, parameters: _Pairs
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """The archive's own answer to WADO-URI parameters that the gateway does not carry out."""
        if self._by_uri is None:
            raise NotAcceptable("the archive that holds it does not do what is asked for")
        return self._by_uri.own(target, content_type, parameters)

    async def probe(self) -> None:
        """One small search; raises what the archive's failure is."""
        await self._searches.page(Query(level=Level.STUDY), 1, 0)

    async def close(self) -> None:
        """Lets go of all connections."""
        await self._searches.close()
        await self._client.close()

    async def _retrieved(
        self,
        target: Target,
        transfer_syntax: str,
        byte_range: ByteRange | None,
        opening: Opening[AsyncIterator[Part]],
    ) -> AsyncIterator[Part]:
        """What the archive sends for `target`; small answers as a whole, large ones as they come.

        Of an instance not in the transfer syntax that was asked for nobody can tell beforehand
        whether the archive will convert it.
        """
        if byte_range is not None and transfer_syntax == media.ANY:
            part = await opening.enter(self._range(target, byte_range))
            if part is not None:
                return AtHand((part,))
        if not target.frames:
            return await self._objects(target, transfer_syntax, opening)
        response = await self._answer(target, transfer_syntax, opening)
        kind = media.OCTET_STREAM
        if (body := await response.small()) is None:
            await opening.enter(response)
            parts = await opening.enter(aclosing(self._parts(response, kind)))
            frames = await opening.enter(aclosing(bodies.frames(parts, target, self.id)))
            return await _begun(frames)
        of = response.headers.get("Content-Type", "")
        found = parts_at_hand(of, body, kind=kind, archive=self.id, has_end=response.has_end)
        return frames_at_hand(found, target, self.id)

    async def _objects(
        self, target: Target, transfer_syntax: str, opening: Opening[AsyncIterator[Part]]
    ) -> AsyncIterator[Part]:
        """Instances; NotAcceptable where they come in another transfer syntax than asked for."""
        asked = transfer_syntax
        if asked != media.EXPLICIT_VR_LITTLE_ENDIAN:
            asked = media.ANY  # archives fail in ugly ways when they cannot transcode
        response = await opening.enter(await self._answer(target, asked, opening))
        parts = await opening.enter(aclosing(self._parts(response, media.DICOM)))
        found = await opening.enter(aclosing(bodies.instances(parts, target, self.id)))
        return await _begun(await opening.enter(aclosing(_only(found, transfer_syntax))))

    def _range(
        self, target: Target, byte_range: ByteRange
    ) -> AbstractAsyncContextManager[Part | None]:
        kind = media.OCTET_STREAM if target.frames else media.DICOM
        accept = f"{kind}; transfer-syntax={media.ANY}"
        return self._ranges.part(path_of(target), (), accept, byte_range)

    async def _answer(
        self, target: Target, asked: str, opening: Opening[AsyncIterator[Part]]
    ) -> Response:
        """The answer for `target`, which somebody has to let go.

        Converted frames where the archive cannot cut stored ones.
        """
        try:
            try:
                return await self._opened(target, asked)
            except (ArchiveBadAnswer, NotFound) as error:
                if self._by_uri and target.level is Level.INSTANCE:
                    return await opening.enter(self._by_uri.opened(target, media.DICOM))
                if target.frames and asked == media.ANY and getattr(error, "answered", 0) == 500:
                    # some builds cannot cut big-endian frames, but can convert them
                    return await self._opened(target, media.EXPLICIT_VR_LITTLE_ENDIAN)
                raise
        except ArchiveBadAnswer as error:
            raise _meant(error, target, asked) from error

    async def _opened(self, target: Target, transfer_syntax: str) -> Response:
        accept = accept_of(target, transfer_syntax)
        return await self._client.opened(self._wado, path_of(target), accept=accept, is_stream=True)

    def _parts(self, response: Response, kind: str) -> AsyncGenerator[Part, None]:
        return bodies.parts(
            response.headers.get("Content-Type", ""),
            response.length,
            response,
            kind=kind,
            archive=self.id,
            has_end=response.has_end,
        )


async def _only(parts: AsyncIterator[Part], transfer_syntax: str) -> AsyncGenerator[Part, None]:
    """The parts; NotAcceptable at one in another transfer syntax than asked for."""
    async for part in parts:
        found = media.parameter_of(part.content_type, "transfer-syntax")
        if transfer_syntax not in {media.ANY, found}:
            raise NotAcceptable(f"not available in transfer syntax {transfer_syntax}")
        yield part


async def _begun(parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
    """The parts, known to be there."""
    found = await first(parts)
    if found is None:
        raise NotFound("the archive sent nothing")
    return found[1]


def _meant(error: ArchiveBadAnswer, target: Target, asked: str) -> GatewayError:
    """What archives mean by their 400 and 500 where a frame or a transcoding was asked for."""
    if asked != media.ANY and error.answered in {400, 415, 500, 501}:
        return NotAcceptable(f"not available in transfer syntax {asked}")
    if target.frames and error.answered == 400:
        return NotFound("no such frame")
    return error
