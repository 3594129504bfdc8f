"""What a verified token says of its bearer: the claims of a JWT or of an introspection answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config import Issuer, Settings
from gateway.errors import BadRequest, Forbidden, Unauthorized
from gateway.model import Consumer, Identifier, Scope
from gateway.rules import policy_rules, scopes

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""Signatures that are verified: by public keys only, so that no key can be taken for a secret."""
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
REQUIRED = ("exp", "iat", "iss", "aud", "sub")
LEEWAY_SECONDS = 30
MAX_TOKEN_CHARACTERS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What is said of the bearer. `client` is `client_id`, `azp` or else the subject.

    `fhir_server`: the base of the server that `patient` is an id of, where the token says that.
    """

    client: str
    subject: str
    scope: str | None
    patient: str | None
    fhir_server: str | None


def is_plain(header: Mapping[str, Any]) -> bool:
    """Whether a JWT's header (RFC 7515 §4.1) asks for nothing but a signature that we check."""
    kind = header.get("typ")
    return (
        header.get("alg") in ALGORITHMS
        and "crit" not in header
        and (kind is None or (isinstance(kind, str) and kind.lower() in TYPES))
    )


def claims(said: Mapping[str, Any]) -> Claims:
    """The claims of a token or an introspection answer; Unauthorized: none names a client."""
    subject = _text(said, "sub")
    client = _text(said, "client_id") or _text(said, "azp") or subject
    if client is None:
        raise Unauthorized("the caller is not known")
    scope = said.get("scope", said.get("scp"))
    if isinstance(scope, list):
        scope = " ".join(word for word in scope if isinstance(word, str))
    return Claims(
        client=client,
        subject=subject or client,
        scope=scope if isinstance(scope, str) else None,
        patient=_text(said, "patient"),
        fhir_server=_text(said, "fhirServer"),
    )


def patient_in_context(said: Claims, issuer: Issuer) -> str | None:
    """The FHIR id of the patient whom a token is bound to; None: to none, or to one unnamed."""
    return said.patient if _is_bound(_granted(said, issuer)) else None


def consumer(
    said: Claims, issuer: Issuer, settings: Settings, patients: tuple[Identifier, ...]
) -> Consumer:
    """The consumer that a token of `issuer` speaks for; `patients` identify who is in context.

    Forbidden when the client is neither listed nor covered by the issuer's policy; one that is
    listed for another issuer is not listed. Without SMART scopes the policy alone decides; with
    `patient/` scopes alone, only the patient in context exists, and nobody where that patient is
    not named or not known.
    """
    listed = settings.consumers.get(said.client)
    is_listed = listed is not None and listed.issuer in {None, issuer.issuer}
    name = listed.policy if listed is not None and is_listed else issuer.policy
    if name is None:
        raise Forbidden("this caller has no policy here")
    granted = _granted(said, issuer)
    is_bound = _is_bound(granted)
    return Consumer(
        id=said.client,
        issuer=issuer.issuer,
        user=said.subject,
        policy=policy_rules.compiled(name, settings.policies[name]),
        patients=patients if is_bound else None,
        patient=said.patient if is_bound else None,
        scopes=granted,
    )


def _granted(said: Claims, issuer: Issuer) -> tuple[Scope, ...] | None:
    """The scopes that count; None where the policy alone decides."""
    if said.scope is None or issuer.ignore_scopes:
        return None
    return scopes.effective(scopes.parse(said.scope))


def _is_bound(granted: tuple[Scope, ...] | None) -> bool:
    return granted is not None and scopes.is_bound_to_patient(granted)


def listed(name: str, settings: Settings) -> Consumer:
    """The consumer of the configuration with this name, as one without scopes would be seen.

    BadRequest when there is none.
    """
    known = {k: one.policy for k, one in settings.auth.api_keys.items()}
    known |= {k: one.policy for k, one in settings.consumers.items()}
    if name not in known:
        raise BadRequest(
            f"{name} is neither in consumers nor in auth.api_keys", parameter="CONSUMER"
        )
    return of_key(name, known[name], settings)


def of_key(name: str, chosen: str | None, settings: Settings) -> Consumer:
    """The consumer `name` under the policy `chosen`; None: nothing is hidden from them."""
    if chosen is None:
        return Consumer(id=name)
    return Consumer(id=name, policy=policy_rules.compiled(chosen, settings.policies[chosen]))


def _text(said: Mapping[str, Any], name: str) -> str | None:
    found = said.get(name)
    return found if isinstance(found, str) and found else None
