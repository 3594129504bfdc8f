"""What no single setting can know: mistakes and warnings between settings."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.adapters import (
    config_checks_patients,
    config_checks_redis,
    config_checks_servers,
    config_checks_tls,
)
from gateway.adapters.config_findings import Finding, Rule
from gateway.adapters.config_mistakes import similar
from gateway.adapters.config_yaml import Path
from gateway.config import ListedPatient, Settings
from gateway.config_types import is_loopback
from gateway.rules.fhir_elements import SNOMED_CT, SNOMED_RT


def _no_archive(settings: Settings) -> Iterator[Finding]:
    if not settings.archives:
        yield ("archives",), "there is no archive", "Name at least one, `dicomweb` or `folder`."


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
    patients = settings.fhir.patients
    if patients.listed and patients.by != "listed":
        path = ("fhir", "patients", "listed")
        yield path, f"has no effect with `by: {patients.by}`", "Set `by: listed`, or remove it."


def _unreachable_public_url(settings: Settings) -> Iterator[Finding]:
    public = urlsplit(settings.server.public_url).hostname or ""
    if is_loopback(public) and not is_loopback(settings.server.host):
        yield (
            ("server", "public_url"),
            f'"{settings.server.public_url}" means the caller\'s own machine to everybody else',
            "Set the address by which callers reach the gateway.",
        )


RULES = (
    Rule(_no_archive),
    *config_checks_servers.RULES,
    *config_checks_patients.RULES,
    *config_checks_tls.RULES,
    *config_checks_redis.RULES,
    Rule(_unknown_viewer, ("viewers",)),
    Rule(_open_network, ("auth.mode", "auth.allow_open_network")),
    Rule(_nobody_is_known, ("auth.api_keys", "auth.issuers")),
    Rule(_unknown_policies, ("policies",)),
    Rule(_odd_rules, ("archives",)),
    Rule(_patients_listed_twice),
    Rule(_old_snomed),
    Rule(_idle_sections, ("auth.mode", "fhir.patients.by"), is_warning=True),
    Rule(_unreachable_public_url, ("server.host",), is_warning=True),
)
