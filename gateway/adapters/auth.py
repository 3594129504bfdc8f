"""Who asks: a request's credentials become a `Consumer`, or the same refusal whatever is wrong.

A key is looked for in `X-API-Key` or as bearer token; any other bearer token is a JWT of an issuer
whose keys are known (RFC 7519, RFC 9068), or is asked about at one that is introspected. Of several
credentials in one request none is believed (RFC 6750 §2).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.adapters.decisions import Decision, Decisions
from gateway.adapters.introspection import Introspection, Introspections
from gateway.adapters.origin_client import OriginClient
from gateway.adapters.token_keys import TokenKeys
from gateway.config import Issuer, Settings
from gateway.errors import Unauthorized
from gateway.model import Consumer, Identifier
from gateway.rules import patient_context, tokens

OPEN = Consumer(id="open")
"""Everybody, where nobody is asked who they are: nothing is hidden from them."""
_UNKNOWN = "the caller is not known"
_CREDENTIALS = frozenset({"authorization", "x-api-key"})
Patients = Callable[[str | None, str], Awaitable[tuple[Identifier, ...]]]
"""The identifiers of the patient of a FHIR id; () when there is none. Unavailable.

First: the FHIR server that knows the patient; None: none of the configuration.
"""


class Authenticator:
    """The callers of `settings`. Whoever makes it closes it."""

    def __init__(
        self,
        settings: Settings,
        patients: Patients,
        *,
        holds: Callable[[str | None, str, tuple[Identifier, ...]], bool],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`patients` tells the identifiers of a FHIR patient, `holds` whether they still are.

        `now` is the time of day.
        """
        self._settings = settings
        self._patients, self._holds = patients, holds
        self._now = now
        self._decisions = Decisions()
        self._api_keys = {
            _digest(section.key.get_secret_value()): Decision(
                tokens.of_key(name, section.policy, settings)
            )
            for name, section in settings.auth.api_keys.items()
        }
        self._issuers = {issuer.issuer: issuer for issuer in settings.auth.issuers}
        self._keys = {
            issuer.issuer: TokenKeys(_source(issuer), clock)
            for issuer in settings.auth.issuers
            if issuer.jwks_url or issuer.jwks_file
        }
        self._introspections = Introspections(
            {
                issuer.issuer: _introspection(issuer, clock, now)
                for issuer in settings.auth.issuers
                if issuer.introspection_url
            }
        )

    async def decision(self, headers: Mapping[str, str]) -> Decision:
        """The caller behind `headers`, and for how long.

        Unauthorized when nobody known; Forbidden when known and given no policy; Unavailable when
        the issuer that would know does not answer.
        """
        if sum(name.lower() in _CREDENTIALS for name, _ in headers.items()) > 1:
            raise Unauthorized(_UNKNOWN)
        if (key := headers.get("X-API-Key")) is not None:
            if (found := self._of_api_key(_digest(key))) is not None:
                return found
            raise Unauthorized(_UNKNOWN)
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > tokens.MAX_TOKEN_CHARACTERS:
            raise Unauthorized(_UNKNOWN)
        digest = _digest(token)
        found = self._of_api_key(digest) or self._decisions.found(digest)
        if found is None:
            found = await self._of_token(token)
            self._decisions.keep(digest, found)
        return found

    async def close(self) -> None:
        """Lets go of the connections to issuers."""
        for keys in self._keys.values():
            await keys.close()
        await self._introspections.close()

    def _of_api_key(self, digest: bytes) -> Decision | None:
        """Whose key it is; every key is compared, and each in constant time."""
        found = None
        for known, decision in self._api_keys.items():
            if hmac.compare_digest(known, digest):
                found = decision
        return found

    async def _of_token(self, token: str) -> Decision:
        if not self._issuers:
            raise Unauthorized(_UNKNOWN)
        header, issuer = _unverified(token)
        if header is not None and issuer in self._keys:
            said = await self._verified(token, header, issuer)
            are_same_keys = self._keys[issuer].unchanged()
            ends, now = int(said["exp"]) + tokens.LEEWAY_SECONDS, self._now
            return await self._decided(
                said, self._issuers[issuer], lambda: now() < ends and are_same_keys()
            )
        if header is not None and issuer not in self._introspections:
            raise Unauthorized(_UNKNOWN)
        return await self._introspected(token, issuer)

    async def _verified(
        self, token: str, header: Mapping[str, Any], issuer: str
    ) -> Mapping[str, Any]:
        """The claims of a JWT whose signature, times, issuer and audience are right."""
        import jwt

        if not tokens.is_plain(header):
            raise Unauthorized(_UNKNOWN)
        key = await self._keys[issuer].key(header.get("kid"), header["alg"])
        audience = self._issuers[issuer].audience or self._settings.server.public_url
        try:
            return jwt.decode(
                token,
                key=key,
                algorithms=[header["alg"]],
                audience=audience,
                issuer=issuer,
                leeway=tokens.LEEWAY_SECONDS,
                options={"require": list(tokens.REQUIRED)},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Unauthorized(_UNKNOWN) from error

    async def _introspected(self, token: str, issuer: str | None) -> Decision:
        """Whoever the issuer that knows the token says it is."""
        found = await self._introspections.said(token, issuer)
        if found is None or not self._is_meant(found[1], self._issuers[found[0]]):
            raise Unauthorized(_UNKNOWN)
        name, said = found
        is_said = self._introspections.repeats(token, name)
        return await self._decided(said, self._issuers[name], is_said)

    def _is_meant(self, said: Mapping[str, Any], issuer: Issuer) -> bool:
        """Whether what was said is of this issuer, for us, and of now; what is not said is not."""
        audience = said.get("aud", issuer.audience)
        now, leeway = self._now(), tokens.LEEWAY_SECONDS
        return (
            said.get("iss", issuer.issuer) == issuer.issuer
            and (issuer.audience is None or issuer.audience in _listed(audience))
            and _number(said.get("exp"), now + 1) > now - leeway
            and _number(said.get("nbf"), now) <= now + leeway
        )

    async def _decided(
        self, said: Mapping[str, Any], issuer: Issuer, is_said: Callable[[], bool]
    ) -> Decision:
        """Whom a token speaks for; `is_said`: whether it would be found to say the same again."""
        claims = tokens.claims(said)
        known = tokens.consumer(claims, issuer, self._settings, ())
        patient = tokens.patient_in_context(claims, issuer)
        if patient is None:
            return Decision(known, is_said)
        server = patient_context.server_of(claims, issuer, self._settings)
        found, holds = await self._patients(server, patient), self._holds
        return Decision(
            replace(known, patients=found), lambda: is_said() and holds(server, patient, found)
        )


def _unverified(token: str) -> tuple[Mapping[str, Any] | None, str | None]:
    """Header and issuer of a JWT, not yet believed; None and None for any other token."""
    import jwt  # where callers have tokens only: it brings the cryptography

    try:
        whole = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None, None
    issuer = whole["payload"].get("iss")
    return whole["header"], issuer if isinstance(issuer, str) else ""


def _source(issuer: Issuer) -> OriginClient | Path:
    if issuer.jwks_file is not None:
        return issuer.jwks_file
    return OriginClient("the issuer of the token", issuer.jwks_url or "", issuer.tls)


def _introspection(
    issuer: Issuer, clock: Callable[[], float], now: Callable[[], float]
) -> Introspection:
    secret = issuer.client_secret.get_secret_value() if issuer.client_secret else ""
    return Introspection(
        OriginClient("the issuer of the token", issuer.introspection_url or "", issuer.tls),
        client_id=issuer.client_id or "",
        client_secret=secret,
        clock=clock,
        now=now,
    )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _number(value: object, otherwise: float) -> float:
    """`value` as a number; `otherwise` when nothing is said. What is no number is never right."""
    if value is None:
        return otherwise
    return float(value) if isinstance(value, int | float) else float("nan")
