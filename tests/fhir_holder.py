"""A small FHIR server that holds resources of other systems and finds them as such servers do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

Resource = Mapping[str, Any]


class FhirHolder:
    """Answers searches for ImagingStudy below `/fhir`, with includes, in pages of `page` entries.

    Of the parameters it knows `identifier`, `patient.identifier` and `basedon:identifier`; others
    are refused, as HAPI does. `token`: what Authorization must be.
    """

    def __init__(self, resources: Sequence[Resource], *, page: int = 50, token: str | None = None):
        self.resources = list(resources)
        self.page = page
        self.token = token
        self.asked: list[str] = []
        self.app = web.Application()
        self.app.router.add_get("/fhir/ImagingStudy", self._search)
        self.app.router.add_get("/fhir", self._search)

    async def _search(self, request: web.Request) -> web.Response:
        self.asked.append(request.query_string)
        if self.token is not None and request.headers.get("Authorization") != self.token:
            return web.Response(status=401)
        base = str(request.url.origin()) + "/fhir"
        pairs = parse_qsl(request.query_string)
        try:
            found = [r for r in self._studies() if all(self._fits(r, n, v) for n, v in pairs)]
        except KeyError as unknown:
            return web.json_response(_outcome(f"unknown {unknown}"), status=400)
        start = int(dict(pairs).get("_start", "0"))
        page = found[start : start + self.page]
        entries = [_entry(base, r, "match") for r in page]
        entries += [_entry(base, r, "include") for r in self._included(page, pairs)]
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        if start + self.page < len(found):
            rest = [p for p in pairs if p[0] != "_start"] + [("_start", str(start + self.page))]
            bundle["link"] = [{"relation": "next", "url": f"{base}?{urlencode(rest)}"}]
        return web.json_response(bundle, content_type="application/fhir+json")

    def _studies(self) -> Iterator[Resource]:
        return (r for r in self.resources if r["resourceType"] == "ImagingStudy")

    def _fits(self, resource: Resource, name: str, value: str) -> bool:
        if name in {"_include", "_count", "_start", "_elements"}:
            return True
        if name == "identifier":
            return _has(resource.get("identifier", ()), value)
        if name == "patient.identifier":
            patient = self._at(resource["subject"].get("reference"))
            return patient is not None and _has(patient.get("identifier", ()), value)
        if name == "basedon:identifier":
            orders = [b["identifier"] for b in resource.get("basedOn", ()) if "identifier" in b]
            return _has(orders, value)
        raise KeyError(name)

    def _included(
        self, studies: Sequence[Resource], pairs: Sequence[tuple[str, str]]
    ) -> list[Resource]:
        references = []
        for study in studies:
            if ("_include", "ImagingStudy:subject") in pairs:
                references.append(study["subject"].get("reference"))
            if ("_include", "ImagingStudy:endpoint") in pairs:
                holders = (study, *study.get("series", ()))
                references += [e["reference"] for h in holders for e in h.get("endpoint", ())]
        named = (self._at(reference) for reference in dict.fromkeys(references))
        return [r for r in named if r is not None]

    def _at(self, reference: str | None) -> Resource | None:
        return next(
            (r for r in self.resources if f"{r['resourceType']}/{r['id']}" == reference), None
        )


def _has(identifiers: Sequence[Resource], wanted: str) -> bool:
    for token in wanted.split(","):
        system, bar, value = token.rpartition("|")
        for one in identifiers:
            if one.get("value") == value and (not bar or one.get("system", "") == system):
                return True
    return False


def _entry(base: str, resource: Resource, mode: str) -> Resource:
    url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "resource": resource, "search": {"mode": mode}}


def _outcome(text: str) -> Resource:
    issue = {"severity": "error", "code": "invalid", "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
