"""What no single setting of archives, FHIR servers and issuers can know."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.adapters.config_findings import Finding, Rule
from gateway.adapters.config_mistakes import similar
from gateway.adapters.config_yaml import Path
from gateway.config import DicomwebArchive, FolderArchive, Settings
from gateway.config_types import is_loopback


def _missing_folders(settings: Settings) -> Iterator[Finding]:
    for key, archive in settings.archives.items():
        if isinstance(archive, FolderArchive) and not archive.path.is_dir():
            message = f'"{archive.path}": {"not a folder" if archive.path.exists() else "missing"}'
            yield ("archives", key, "path"), message, "Name a folder that exists."


def _same_addresses(settings: Settings) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for key, archive in settings.archives.items():
        if isinstance(archive, DicomwebArchive):
            if archive.qido_rs is None:
                continue
            name, address = "qido_rs", archive.qido_rs
        else:
            name, address = "path", str(archive.path.resolve())
        if address in seen:
            message = f"the same as that of archive `{seen[address]}`"
            yield ("archives", key, name), message, "Ask each archive once: remove one of the two."
        seen.setdefault(address, key)


def _nothing_gives(settings: Settings) -> Iterator[Finding]:
    for key, archive in settings.archives.items():
        if isinstance(archive, DicomwebArchive) and not (archive.wado_rs_base or archive.wado_uri):
            name = "wado_rs" if "wado_rs" in archive.model_fields_set else "qido_rs"
            message = "nothing can be retrieved: it has neither WADO-RS nor WADO-URI"
            yield ("archives", key, name), message, "Give `wado_rs` or `wado_uri`."


def _nothing_tells(settings: Settings) -> Iterator[Finding]:
    if any("imaging-studies" in server.use for server in settings.fhir.servers.values()):
        return
    for key in _unlisted(settings):
        yield (
            ("archives", key, "qido_rs"),
            "nothing tells what this archive holds",
            "Give its address, or a server in `fhir.servers` that has its ImagingStudy resources.",
        )


def _unknown_listed_archives(settings: Settings) -> Iterator[Finding]:
    unlisted = _unlisted(settings)
    for key, server in settings.fhir.servers.items():
        if server.archive is None or server.archive in unlisted:
            continue
        path: Path = ("fhir", "servers", key, "archive")
        known = ", ".join(unlisted) or "none yet"
        if server.archive in settings.archives:
            message = f"archive `{server.archive}` tells by itself what it holds"
        else:
            near = similar(server.archive, list(settings.archives))
            message = f'"{server.archive}" is not one of `archives`{near}'
        yield path, message, f"One that has `qido_rs: null`: {known}."


def _unlisted(settings: Settings) -> list[str]:
    """The archives that cannot tell what they hold."""
    return [
        key
        for key, archive in settings.archives.items()
        if isinstance(archive, DicomwebArchive) and archive.qido_rs is None
    ]


def _issuers(settings: Settings) -> Iterator[Finding]:
    for index, issuer in enumerate(settings.auth.issuers):
        path: Path = ("auth", "issuers", index)
        if not (issuer.jwks_url or issuer.jwks_file or issuer.introspection_url):
            yield path, "nothing tells which tokens are its own", "Name jwks_url or jwks_file."
        if issuer.introspection_url and not (issuer.client_id and issuer.client_secret):
            remedy = "Name client_id and client_secret."
            yield (*path, "introspection_url"), "the gateway has no name there", remedy
        for key in ("jwks_url", "introspection_url"):
            url = urlsplit(getattr(issuer, key) or "https://")
            if url.scheme != "https" and not is_loopback(url.hostname or ""):
                message = "what is not https can be forged on its way"
                yield (*path, key), message, "Use https."


def _unknown_issuers(settings: Settings) -> Iterator[Finding]:
    known = [one.issuer for one in settings.auth.issuers]
    for key, consumer in settings.consumers.items():
        if consumer.issuer is not None and consumer.issuer not in known:
            message = (
                f'"{consumer.issuer}" is none of `auth.issuers`{similar(consumer.issuer, known)}'
            )
            remedy = f"One of: {', '.join(known) or 'none yet'}."
            yield ("consumers", key, "issuer"), message, remedy


def _clients_of_any_issuer(settings: Settings) -> Iterator[Finding]:
    if len({one.issuer for one in settings.auth.issuers}) < 2:
        return
    for key, consumer in settings.consumers.items():
        if consumer.issuer is None:
            message = "a client of this name of any issuer gets this policy"
            yield ("consumers", key), message, "Name the `issuer` whose client is meant."


def _shown_tokens(settings: Settings) -> Iterator[Finding]:
    asked: list[str] = []
    for index, issuer in enumerate(settings.auth.issuers):
        if issuer.introspection_url is None:
            continue
        if asked:
            path: Path = ("auth", "issuers", index, "introspection_url")
            message = f"opaque tokens of this issuer are shown to {', '.join(asked)} first"
            yield path, message, "Name the issuer first that is trusted most, or use JWTs."
        asked.append(issuer.issuer)


def _idle_servers(settings: Settings) -> Iterator[Finding]:
    told = [n for n, s in settings.fhir.servers.items() if "imaging-studies" in s.use]
    if told and not _unlisted(settings):
        message = "no archive is without QIDO-RS, so that no server is asked what one holds"
        yield ("fhir", "servers"), message, "Remove it, or leave it for later."


RULES = (
    Rule(_nothing_tells, ("archives.@.type", "fhir.servers")),
    Rule(_nothing_gives, ("archives.@.type", "archives.@.wado_rs", "archives.@.wado_uri")),
    Rule(_unknown_listed_archives, ("archives.*.type", "archives.*.qido_rs")),
    Rule(_missing_folders, ("archives.@.type",)),
    Rule(_issuers, ("auth.issuers.@.client_id", "auth.issuers.@.client_secret")),
    Rule(_unknown_issuers, ("auth.issuers",)),
    Rule(_clients_of_any_issuer, ("auth.issuers",), is_warning=True),
    Rule(_shown_tokens, ("auth.issuers",), is_warning=True),
    Rule(_idle_servers, ("archives.*.type", "archives.*.qido_rs"), is_warning=True),
    Rule(_same_addresses, ("archives.*.type",), is_warning=True),
)
