"""Entries of searchsets, written once: finished bytes, kept by what they were made from.

What an entry says depends on the record of its study, which the cache knows, and on who asks for
what in which version: the kind of the entry. A page of known studies is put together from bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

from gateway import disclosures
from gateway.adapters.derived import Current, Derived
from gateway.disclosures import Disclosures
from gateway.model import Endpoint, Study
from gateway.routes.fhir_resources import Resources
from gateway.rules import fhir_bundle
from gateway.rules.fhir_results import Wanted
from gateway.rules.imaging_study import oddities
from gateway.rules.patient_ids import OfServer

_OVERHEAD_BYTES = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A study as an entry, and what a Bundle needs to know of it besides.

    `is_shared`: several archives hold the study, so that its record may match otherwise than the
    row that a search found.
    """

    uid: str
    body: orjson.Fragment
    size: int
    oddities: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    patient_id: str | None
    is_shared: bool
    disclosed: Disclosures


class Entries:
    """The entries kept by one process."""

    def __init__(self, cache: Current, *, max_bytes: int) -> None:
        self._kept: Derived[tuple[str, str], Entry] = Derived(cache, max_bytes=max_bytes)

    def found(self, kind: str, study_uid: str) -> Entry | None:
        """The entry of a study if it is current; what it discloses is noted."""
        entry = self._kept.found((kind, study_uid))
        if entry is not None:
            disclosures.repeat(entry.disclosed)
        return entry

    async def made(
        self, kind: str, study_uid: str, make: Callable[[], Awaitable[Entry | None]]
    ) -> Entry | None:
        """What `make` gives, kept for the next time if cached values alone decide on it."""

        async def weighed() -> tuple[Entry, int] | None:
            entry = await make()
            return None if entry is None else (entry, entry.size + _OVERHEAD_BYTES)

        return await self._kept.made((kind, study_uid), weighed)


ENTRIES = web.AppKey("entries", Entries)


def kind(resources: Resources, base: str, wanted: Wanted) -> str:
    """What entries depend on besides their studies."""
    asked = (wanted.summary, sorted(wanted.elements))
    patients = resources.patients
    known = sorted(patients.known.items()) if isinstance(patients, OfServer) else ()
    return repr((base, resources.version.id, resources.consumer, known, asked))


def _disclosed(study: Study) -> Disclosures:
    several = {study.uid: study.patient_ids} if study.patient_ids else {}
    return Disclosures({study.uid: study.patient.id}, several=several)


def written(study: Study, resources: Resources, base: str, wanted: Wanted) -> Entry:
    """The entry of a study, as far as it is `wanted`, whose type is served below `base`."""
    served = resources.served(resources.imaging_study(study), wanted)
    body = orjson.dumps(fhir_bundle.entry(served, f"{base}/ImagingStudy", "match"))
    carried = resources.carried(study)
    of_series = (e for found in carried.series.values() for e in found)
    return Entry(
        uid=study.uid,
        body=orjson.Fragment(body),
        size=len(body),
        oddities=tuple(oddities(study)),
        endpoints=tuple(dict.fromkeys((*carried.study, *of_series))),
        patient_id=resources.patient_id(study),
        is_shared=len(study.archives) > 1,
        disclosed=_disclosed(study),
    )
