"""What no single setting can know: mistakes and warnings between settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.adapters.config_mistakes import similar
from gateway.adapters.config_yaml import Path, Tree
from gateway.config import DicomwebArchive, FolderArchive, ListedPatient, Settings
from gateway.config_types import is_loopback
from gateway.rules.fhir_elements import SNOMED_CT, SNOMED_RT

Finding = tuple[Path, str, str]
"""Path, message and remedy."""


def check(settings: Settings, tree: Tree) -> None:
    """Note in `tree` what is wrong with, or doubtful about, `settings` as a whole."""
    for rule in MISTAKES:
        _note(tree, rule(settings), is_warning=False)
    for rule in WARNINGS:
        _note(tree, rule(settings), is_warning=True)


def _note(tree: Tree, findings: Iterator[Finding], *, is_warning: bool) -> None:
    for path, message, remedy in findings:
        lengths = range(len(path), 0, -1)
        places = [tree.keys.get(path[:n]) for n in lengths]
        position = tree.values.get(path) or next((place for place in places if place), None)
        tree.mistake(path, message, remedy, position)
        tree.mistakes[-1] = replace(tree.mistakes[-1], is_warning=is_warning)


def _no_archive(settings: Settings) -> Iterator[Finding]:
    if not settings.archives:
        yield ("archives",), "there is no archive", "Name at least one, `dicomweb` or `folder`."


def _missing_folders(settings: Settings) -> Iterator[Finding]:
    for key, archive in settings.archives.items():
        if isinstance(archive, FolderArchive) and not archive.path.is_dir():
            message = f'"{archive.path}": {"not a folder" if archive.path.exists() else "missing"}'
            yield ("archives", key, "path"), message, "Name a folder that exists."


def _unknown_viewer(settings: Settings) -> Iterator[Finding]:
    viewer = settings.iid.default_viewer
    if viewer is not None and viewer not in settings.viewers:
        known = sorted(settings.viewers)
        message = f'"{viewer}" is not one of `viewers`{similar(viewer, known)}'
        yield ("iid", "default_viewer"), message, f"One of: {', '.join(known) or 'none yet'}."


def _open_network(settings: Settings) -> Iterator[Finding]:
    host = settings.server.host
    is_open = settings.auth.mode == "open" and not settings.auth.allow_open_network
    if is_open and not is_loopback(host):
        yield (
            ("server", "host"),
            f'"{host}" is not loopback, and with `auth.mode: open` whoever reaches it sees '
            "everything",
            "Bind 127.0.0.1 behind a proxy that lets the right people in, or set "
            "`auth.allow_open_network: true`.",
        )


def _nobody_is_known(settings: Settings) -> Iterator[Finding]:
    auth = settings.auth
    if auth.mode == "required" and not (auth.api_keys or auth.issuers):
        yield (
            ("auth", "mode"),
            "nobody can be known: there are neither keys nor issuers",
            "Name `auth.api_keys` or `auth.issuers`.",
        )


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


def _unknown_policies(settings: Settings) -> Iterator[Finding]:
    named: list[tuple[Path, str | None]] = [
        (("consumers", key, "policy"), consumer.policy)
        for key, consumer in settings.consumers.items()
    ]
    named += [
        (("auth", "api_keys", key, "policy"), api_key.policy)
        for key, api_key in settings.auth.api_keys.items()
    ]
    named += [
        (("auth", "issuers", index, "policy"), issuer.policy)
        for index, issuer in enumerate(settings.auth.issuers)
    ]
    known = sorted(settings.policies)
    for path, policy in named:
        if policy is not None and policy not in settings.policies:
            message = f'"{policy}" is not one of `policies`{similar(policy, known)}'
            yield path, message, f"One of: {', '.join(known) or 'none yet'}."


def _odd_rules(settings: Settings) -> Iterator[Finding]:
    known = sorted(settings.archives)
    for key, policy in settings.policies.items():
        for verb, rules in (("hide", policy.hide), ("allow", policy.allow)):
            for index, rule in enumerate(rules):
                path: Path = ("policies", key, verb, index)
                if not any(v for _, v in rule):
                    yield path, f"an empty rule would {verb} everything", "Say what it means."
                for archive in set(rule.archive) - set(known):
                    message = f'"{archive}" is not one of `archives`{similar(archive, known)}'
                    yield (*path, "archive"), message, f"One of: {', '.join(known) or 'none yet'}."


def _patients_listed_twice(settings: Settings) -> Iterator[Finding]:
    seen: dict[ListedPatient, str] = {}
    for key, patient in settings.fhir.patients.listed.items():
        if patient in seen:
            path: Path = ("fhir", "patients", "listed", key)
            message = f"the same patient as `{seen[patient]}`"
            yield path, message, "Give each patient one id."
        seen.setdefault(patient, key)


def _old_snomed(settings: Settings) -> Iterator[Finding]:
    for scheme, system in settings.fhir.code_systems.items():
        if scheme in SNOMED_RT and system == SNOMED_CT:
            yield (
                ("fhir", "code_systems", scheme),
                "the codes of SNOMED-RT are not those of SNOMED CT",
                "Leave it out: known codes are translated, others are told as text.",
            )


def _sentinel_service(settings: Settings) -> Iterator[Finding]:
    url = settings.cache.redis_url
    if url is None:
        return
    parts = urlsplit(url.get_secret_value())
    if not parts.netloc.rpartition("@")[2]:
        yield ("cache", "redis_url"), "the host is missing", "redis://host:port/database."
    if parts.scheme == "redis+sentinel" and not parts.path.strip("/"):
        yield (
            ("cache", "redis_url"),
            "the service's name is missing",
            "redis+sentinel://host:port,host:port/service/database.",
        )


def _idle_sections(settings: Settings) -> Iterator[Finding]:
    if settings.auth.mode == "open":
        remedy = "With `auth.mode: open` everybody who reaches the gateway sees everything."
        idle: dict[Path, object] = {
            ("policies",): settings.policies,
            ("consumers",): settings.consumers,
            ("auth", "api_keys"): settings.auth.api_keys,
            ("auth", "issuers"): settings.auth.issuers,
        }
        for path in (path for path, value in idle.items() if value):
            yield path, "has no effect with `auth.mode: open`", remedy
    if settings.fhir.servers and not _unlisted(settings):
        message = "no archive is without QIDO-RS, so that no server is asked what one holds"
        yield ("fhir", "servers"), message, "Remove it, or leave it for later."
    patients = settings.fhir.patients
    if patients.listed and patients.by != "listed":
        path = ("fhir", "patients", "listed")
        yield path, f"has no effect with `by: {patients.by}`", "Set `by: listed`, or remove it."


def _unlisted(settings: Settings) -> list[str]:
    """The archives that cannot tell what they hold."""
    return [
        key
        for key, archive in settings.archives.items()
        if isinstance(archive, DicomwebArchive) and archive.qido_rs is None
    ]


def _nothing_tells(settings: Settings) -> Iterator[Finding]:
    if any("imaging-studies" in server.use for server in settings.fhir.servers.values()):
        return
    for key in _unlisted(settings):
        yield (
            ("archives", key, "qido_rs"),
            "nothing tells what this archive holds",
            "Give its address, or a server in `fhir.servers` that has its ImagingStudy resources.",
        )


def _nothing_gives(settings: Settings) -> Iterator[Finding]:
    for key, archive in settings.archives.items():
        if isinstance(archive, DicomwebArchive) and not (archive.wado_rs_base or archive.wado_uri):
            name = "wado_rs" if "wado_rs" in archive.model_fields_set else "qido_rs"
            message = "nothing can be retrieved: it has neither WADO-RS nor WADO-URI"
            yield ("archives", key, name), message, "Give `wado_rs` or `wado_uri`."


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


def _unreachable_public_url(settings: Settings) -> Iterator[Finding]:
    public = urlsplit(settings.server.public_url).hostname or ""
    if is_loopback(public) and not is_loopback(settings.server.host):
        yield (
            ("server", "public_url"),
            f'"{settings.server.public_url}" means the caller\'s own machine to everybody else',
            "Set the address by which callers reach the gateway.",
        )


MISTAKES: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _no_archive,
    _nothing_tells,
    _nothing_gives,
    _unknown_listed_archives,
    _missing_folders,
    _unknown_viewer,
    _open_network,
    _nobody_is_known,
    _issuers,
    _unknown_policies,
    _odd_rules,
    _patients_listed_twice,
    _sentinel_service,
    _old_snomed,
)
WARNINGS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _idle_sections,
    _same_addresses,
    _unreachable_public_url,
)
