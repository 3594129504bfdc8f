"""The SMART configuration: where apps get tokens for this server (SMART App Launch 2.2).

The gateway issues none. It tells of the first issuer that says where apps are sent, and that this
base serves imaging (Argonaut SMART Imaging Access).
"""

from __future__ import annotations

from gateway.config import Issuer, Settings
from gateway.rules import scopes
from gateway.rules.fhir_elements import Resource, members

_ACTIONS = ("rs", "read")


def smart_configuration(settings: Settings) -> Resource | None:
    """The document; None where no issuer says where its tokens are had."""
    if settings.auth.mode == "open":
        return None
    issuer = next((i for i in settings.auth.issuers if i.token_url is not None), None)
    return None if issuer is None else _of(issuer)


def _of(issuer: Issuer) -> Resource:
    grants = ["authorization_code"] if issuer.authorization_url else []
    return members(
        issuer=issuer.issuer,
        jwks_uri=issuer.jwks_url,
        authorization_endpoint=issuer.authorization_url,
        token_endpoint=issuer.token_url,
        introspection_endpoint=issuer.introspection_url,
        grant_types_supported=[*grants, "client_credentials"],
        scopes_supported=[
            f"{context}/{resource}.{action}"
            for context in ("patient", "user", "system")
            for resource in scopes.SERVED
            for action in _ACTIONS
        ],
        response_types_supported=["code"] if grants else [],
        code_challenge_methods_supported=["S256"],
        capabilities=[
            "smart-imaging-access",
            "permission-v1",
            "permission-v2",
            "permission-patient",
            "permission-user",
            *(["launch-standalone", "context-standalone-patient"] if grants else []),
        ],
    )
