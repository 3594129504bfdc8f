"""Whether it is clear who knows the patients that ids and tokens name."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.adapters.config_findings import Finding, Rule
from gateway.adapters.config_mistakes import similar
from gateway.adapters.config_yaml import Path
from gateway.config import Settings
from gateway.config_types import is_loopback
from gateway.rules import patient_context

_BY: Path = ("fhir", "patients", "by")


def _knowing(settings: Settings) -> list[str]:
    """The servers that know patients."""
    return sorted(n for n, s in settings.fhir.servers.items() if "patients" in s.use)


def _nobody_knows(settings: Settings) -> Iterator[Finding]:
    if settings.fhir.patients.by != "server":
        return
    if not _knowing(settings):
        remedy = "Give one of `fhir.servers` `use: [patients]`."
        yield _BY, "no FHIR server knows the patients", remedy
    if not patient_context.systems(settings):
        remedy = "Give each archive its `patient_system`, as Patient.identifier.system writes it."
        yield _BY, "no archive has a system of Patient IDs: nobody would be found", remedy


def _forgeable(settings: Settings) -> Iterator[Finding]:
    for name in _knowing(settings) if settings.fhir.patients.by == "server" else ():
        url = urlsplit(settings.fhir.servers[name].url)
        if url.scheme != "https" and not is_loopback(url.hostname or ""):
            path: Path = ("fhir", "servers", name, "url")
            yield path, "who a patient is could be forged on its way", "Use https."


def _unknown_systems(settings: Settings) -> Iterator[Finding]:
    known = sorted(patient_context.systems(settings))
    for name, server in settings.fhir.servers.items():
        for written, system in server.identifier_systems.items():
            if system not in known:
                path: Path = ("fhir", "servers", name, "identifier_systems", written)
                message = f'"{system}" is the system of no archive{similar(system, known)}'
                yield path, message, f"One of: {', '.join(known) or 'none yet'}."


def _whose_tokens(settings: Settings) -> Iterator[Finding]:
    """Issuers of which it is not known whose patients their tokens name."""
    known = _knowing(settings)
    is_clear = len(known) == 1 and len(settings.auth.issuers) == 1
    for index, issuer in enumerate(settings.auth.issuers):
        path: Path = ("auth", "issuers", index, "fhir_server")
        name, remedy = issuer.fhir_server, f"One of: {', '.join(known) or 'none yet'}."
        if name is not None and name not in known:
            message = f'"{name}" is no server with `use: [patients]`{similar(name, known)}'
            yield path, message, remedy
        elif name is None and settings.fhir.patients.by == "server" and known and not is_clear:
            yield path, "it is not clear whose patients its tokens name", remedy


def _idle(settings: Settings) -> Iterator[Finding]:
    if settings.fhir.patients.by == "server":
        return
    remedy = "Set `fhir.patients.by: server`, or remove it."
    for name in _knowing(settings):
        path: Path = ("fhir", "servers", name, "use")
        yield path, "`patients` has no effect without `fhir.patients.by: server`", remedy
    for index, issuer in enumerate(settings.auth.issuers):
        if issuer.fhir_server is not None:
            path = ("auth", "issuers", index, "fhir_server")
            yield path, "has no effect without `fhir.patients.by: server`", remedy


_READS = ("fhir.patients.by", "fhir.servers.*.use")
_SYSTEMS = ("archives.*.patient_system", "archives.*.issuer_systems")
RULES = (
    Rule(_nobody_knows, (*_READS, *_SYSTEMS)),
    Rule(_forgeable, _READS),
    Rule(_unknown_systems, (*_SYSTEMS, "archives.*")),
    Rule(_whose_tokens, (*_READS, "auth.issuers")),
    Rule(_idle, _READS, is_warning=True),
)
