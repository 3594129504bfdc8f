"""Settings of servers that the gateway asks: how it proves itself to them, and whom it trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.config_types import Name, Secret, Section, WebUrl


class Tls(Section):
    """TLS with one server. Files are in PEM, and are read again when they change."""

    ca_file: Path | None = None
    """Certificates of the authorities that may vouch for the server, in place of the system's."""
    cert_file: Path | None = None
    """The gateway's certificate for mutual TLS (RFC 8446 §4.4.2), and those between it and the
    authority's."""
    key_file: Path | None = None
    """The certificate's private key; null: in `cert_file`."""
    key_password: Secret | None = None
    """What the private key is encrypted with."""


class NoAuth(Section):
    """No credentials are asked for."""

    type: Literal["none"] = "none"
    """Kind of credentials."""


class BasicAuth(Section):
    """HTTP Basic (RFC 7617)."""

    type: Literal["basic"]
    """Kind of credentials."""
    username: Name
    """The gateway's user name there."""
    password: Secret
    """Its password: `${NAME}` or `{file: path}` keep it out of the file."""


class BearerAuth(Section):
    """A fixed bearer token (RFC 6750)."""

    type: Literal["bearer"]
    """Kind of credentials."""
    token: Secret
    """The token: `${NAME}` or `{file: path}` keep it out of the file."""


class OAuth2Auth(Section):
    """OAuth 2 client credentials (RFC 6749 §4.4)."""

    type: Literal["oauth2"]
    """Kind of credentials."""
    token_url: WebUrl
    """Where the gateway gets its token."""
    client_id: Name
    """The gateway's name at the token server."""
    client_secret: Secret
    """The gateway's secret at the token server."""
    scope: str | None = None
    """Scopes to ask for, separated by spaces."""
    tls: Tls | None = None
    """Certificates for connections to the token server."""


Auth = Annotated[NoAuth | BasicAuth | BearerAuth | OAuth2Auth, Field(discriminator="type")]


class FhirServer(Section):
    """A FHIR server that already holds ImagingStudy, Endpoint or Patient."""

    url: WebUrl
    """Its base."""
    auth: Auth = NoAuth()
    """The gateway's credentials there."""
    tls: Tls | None = None
    """Certificates for connections to it."""
    use: tuple[Literal["imaging-studies", "patients"], ...] = ("imaging-studies",)
    """What is read from it. `imaging-studies`: what archives hold that have no QIDO-RS.

    `patients`: who the patients are that ids name, with `fhir.patients.by: server`.
    """
    archive: str | None = None
    """The archive that holds a series whose Endpoints select none by their addresses."""
    identifier_systems: dict[Name, Name] = {}
    """Systems of the archives' Patient IDs for systems of Patient.identifier, where they differ."""
    old_identifiers: bool = False
    """Counts identifiers of a Patient whose use is `old` or whose period is over as well."""
