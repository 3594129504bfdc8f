"""The settings, one frozen model per YAML section; unknown keys are mistakes.

`adapters.config_file` reads the file into them and `docs/configuration.md` is generated from them.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from gateway.config_archives import AnyArchive as AnyArchive
from gateway.config_archives import Archive as Archive
from gateway.config_archives import DicomwebArchive as DicomwebArchive
from gateway.config_archives import FolderArchive as FolderArchive
from gateway.config_servers import Auth, FhirServer, NoAuth, Tls
from gateway.config_types import (
    ArchiveId,
    CodeSystem,
    FhirId,
    Name,
    OneOrMore,
    Origin,
    RedisUrl,
    Rejections,
    Seconds,
    Secret,
    Section,
    ViewerUrl,
    WebUrl,
)


class Server(Section):
    """Where the gateway listens, and the address that callers know it by."""

    host: str = "127.0.0.1"
    """Address to bind. Other than loopback needs `auth.allow_open_network`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port to bind; 0 takes a free one."""
    public_url: WebUrl = "http://127.0.0.1:8080"
    """Base of every absolute URL that leaves the gateway (RetrieveURL, Endpoint.address, links)."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that share the port; one that dies is replaced, all end with the first."""
    cors_origins: tuple[Origin, ...] = ()
    """Origins whose pages may read answers, exactly as browsers send them: `https://viewer.example.org`."""
    shutdown_seconds: Seconds = 30
    """How long running answers may take to finish after SIGTERM."""
    quick_repeats: bool = True
    """Answers requests in words that came before as they are read, below the HTTP library: those
    that come again, and those for other frames. Answers, audit trail and log are the same."""


class Endpoints(Section):
    """Which Endpoints an ImagingStudy carries."""

    expose: Literal["gateway", "direct", "both"] = "gateway"
    """`gateway`: the gateway's own; `direct`: the archives' published ones; `both`."""


class ListedPatient(Section):
    """A patient by identifier, as ImagingStudy.subject writes it."""

    system: Annotated[str, Field(pattern=r"^\S+$")] | None = None
    """System of the Patient ID; null: it has none, nor an issuer."""
    value: Annotated[str, Field(pattern=r"^[^\\\x00-\x1f\x7f]{1,256}$")]
    """The Patient ID."""


class FhirPatients(Section):
    """Which patients are Patient resources, and by which ids."""

    by: Literal["identity", "listed", "server", "none"] = "identity"
    """`identity`: the Patient ID is the id; `listed`: those of `listed`; `none`: no patients.

    `server`: those of the server of `fhir.servers` with `use: [patients]`, by Patient.identifier.
    """
    listed: dict[FhirId, ListedPatient] = {}
    """The patients by id, with `by: listed`. Others are told by identifier and name alone."""


class Fhir(Section):
    """The FHIR facade."""

    default_version: Literal["r4", "r4b", "r5", "r6"] = "r4"
    """Version served at `/fhir` when the request names none."""
    servers: dict[str, FhirServer] = {}
    """FHIR servers that are asked as well."""
    default_count: Annotated[int, Field(ge=1, le=1000)] = 20
    """Entries on a page of a search that gives no `_count`."""
    max_count: Annotated[int, Field(ge=1, le=1000)] = 100
    """Entries on a page at the most, whatever `_count` says."""
    max_candidates: Annotated[int, Field(ge=1, le=100000)] = 1000
    """Studies that one search may look at; beyond: a partial page, or 403 in strict handling."""
    allow_broad_searches: bool = True
    """Lets searches through that archives cannot narrow, within `max_candidates`; else 403."""
    series_accessions: bool = False
    """The archives match RequestAttributesSequence.AccessionNumber in searches for series.

    Without it, a number that only the request of a series tells is found beside a patient alone:
    archives that cannot match it there would list all the series that they have.
    """
    code_systems: dict[Name, CodeSystem] = {}
    """FHIR system of private coding schemes by their designator: `{99ABC: "https://…"}`.

    A scheme that is not listed has the system of its Coding Scheme UID, else none: its codes are
    text.
    """
    unavailable_status: Literal["inactive", "unknown"] = "inactive"
    """status in R6 of a study whose every instance is UNAVAILABLE (0008,0056).

    Versions before have no `inactive`: there it is `unknown`.
    """
    accession_as_identifier: bool = False
    """Writes Accession Numbers among `ImagingStudy.identifier`, besides `basedOn`."""
    patient_identifier_type: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,10}$")] | None = None
    """Code of v2-0203 for the type of Patient IDs, such as MR; null: DICOM does not say it."""
    patients: FhirPatients = FhirPatients()
    """Which patients are Patient resources. Ids by identity put Patient IDs into addresses."""


class TemplateViewer(Section):
    """A viewer that is launched by filling in a URL template (RFC 6570)."""

    type: Literal["template"]
    """Kind of viewer."""
    title: Name
    """Its name for people."""
    url: ViewerUrl
    """RFC 6570 template.

    Variables: `study_uid`, `study_uids`, `accession`, `patient_id`, `dicom_web`.
    """


class IidViewer(Section):
    """A viewer that speaks IHE Invoke Image Display (RAD-106)."""

    type: Literal["iid"]
    """Kind of viewer."""
    title: Name
    """Its name for people."""
    url: WebUrl
    """Its IID address."""


Viewer = Annotated[TemplateViewer | IidViewer, Field(discriminator="type")]


class Iid(Section):
    """The gateway's own Invoke Image Display."""

    default_viewer: str | None = None
    """Key of the viewer that `/iid` launches; default: the first of `viewers`."""


class Cache(Section):
    """What is remembered so that archives are spared."""

    redis_url: RedisUrl | None = None
    """Shared cache: redis, redis+sentinel, redis+cluster, with rediss for TLS; null: in process.

    Sentinels that ask for a password: `?sentinel_password=…`, and `&sentinel_username=…`.
    """
    seal_key: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Seals what is in Redis by AES-GCM, and its names; 16 characters or more, for all replicas."""
    key_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")] = "gw"
    """How names in Redis begin: another one for each installation that shares a Redis."""
    memory_mb: Annotated[int, Field(ge=1, le=1048576)] = 256
    """Size of the in-process cache, in MiB."""
    fresh_seconds: Annotated[float, Field(ge=0)] = 60
    """Younger than this: served as it is."""
    stale_seconds: Annotated[float, Field(ge=0)] = 86400
    """Older than fresh and younger than this: served while one request revalidates it."""
    absent_seconds: Annotated[float, Field(ge=0)] = 15
    """How long "the archive does not have it" is believed."""

    @property
    def secret(self) -> bytes:
        """`seal_key` as it is used; b"" without."""
        return b"" if self.seal_key is None else self.seal_key.get_secret_value().encode()


class Issuer(Section):
    """An authority whose tokens are accepted."""

    issuer: Name
    """Its `iss`."""
    audience: str | None = None
    """The `aud` that tokens must carry."""
    jwks_url: WebUrl | None = None
    """Where its keys are."""
    jwks_file: Path | None = None
    """A file with its keys."""
    introspection_url: WebUrl | None = None
    """Its token introspection endpoint (RFC 7662)."""
    client_id: str | None = None
    """The gateway's name at the introspection endpoint."""
    client_secret: SecretStr | None = None
    """The gateway's secret at the introspection endpoint."""
    tls: Tls | None = None
    """Certificates for connections to `jwks_url` and `introspection_url`."""
    authorization_url: WebUrl | None = None
    """Where apps send their users for leave; told in the SMART configuration."""
    token_url: WebUrl | None = None
    """Where apps get their tokens; told in the SMART configuration."""
    policy: str | None = None
    """Policy of callers that are not listed under `consumers`."""
    fhir_server: str | None = None
    """Key of the `fhir.servers` whose patients its tokens name, with `fhir.patients.by: server`.

    Not needed where there is one issuer and one such server.
    """
    ignore_scopes: bool = False
    """Tokens' scopes say nothing here and the policy alone decides; else SMART scopes are needed
    in every token that has any scope."""


class ApiKey(Section):
    """A consumer known by a fixed key."""

    key: Secret
    """The key, sent as `X-API-Key` or as bearer token."""
    policy: str | None = None
    """Policy of this consumer."""


class Access(Section):
    """Who is let in, and how callers are known."""

    mode: Literal["open", "required"] = "open"
    """`open`: whoever reaches the gateway sees everything; `required`: callers must be known."""
    allow_open_network: bool = False
    """Lets `open` bind an address other than loopback: whoever reaches it sees everything."""
    issuers: tuple[Issuer, ...] = ()
    """Authorities whose tokens are accepted."""
    api_keys: dict[str, ApiKey] = {}
    """Consumers known by a fixed key."""
    link_secret: Secret | None = None
    """Hides the criteria of posted FHIR searches in the links of their pages.

    The same in all replicas, and long and random: `openssl rand -base64 32`. Without it those links
    repeat the criteria.
    """


class PolicyRule(Section):
    """What a rule describes: all that is given must fit; of a list, one value."""

    modality: OneOrMore = ()
    """Modality of the series: `SR`, or a list of them."""
    sop_class: OneOrMore = ()
    """SOP class UIDs; `*` stands for any continuation. Reads the instances of what is asked for."""
    series_description: OneOrMore = ()
    """SeriesDescription, with `*` and `?` as wildcards; case does not matter."""
    archive: OneOrMore = ()
    """Archives by id: what only they hold."""
    patient: OneOrMore = ()
    """Patients, as `system|value`; a value without a bar is meant in any system."""
    study_date_from: date | None = None
    """First StudyDate, as `YYYY-MM-DD`."""
    study_date_to: date | None = None
    """Last StudyDate, as `YYYY-MM-DD`."""
    rejection_note: Rejections = ()
    """Titles of the rejection notes that refer to the instance, or its own where it is one:
    `113001` quality, `113037` patient safety, `113038` wrong worklist entry, `113039` retention
    expired, `none` no note. In `allow`, all of its notes have to be listed, and what is rejected
    is shown by such a rule alone. Reads the instances of what is asked for."""


class Policy(Section):
    """What exists for a consumer: what nothing hides and, where anything is allowed, that alone."""

    partial: Literal["filter", "deny"] = "filter"
    """A partly hidden study: `filter` omits and marks; `deny` refuses to retrieve it whole."""
    hide: tuple[PolicyRule, ...] = ()
    """Rules; what one of them describes does not exist for the consumer."""
    allow: tuple[PolicyRule, ...] = ()
    """Rules; where there are any, only what one of them describes exists for the consumer."""


class ConsumerSettings(Section):
    """A caller known by token. Checked, but without effect in `auth.mode: open`."""

    policy: Name
    """Key of its policy."""
    issuer: Name | None = None
    """Whose client it is, as its `auth.issuers[].issuer`: another issuer's client of this name is
    not listed. null: any issuer's, which several issuers make doubtful."""


class Limits(Section):
    """What each consumer may ask for. A minute's worth may be used at once; then it is 429."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Requests of one consumer in one process; null: any number."""
    archive_requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Requests to archives that one consumer causes in one process; null: any number."""
    requests_at_once: Annotated[int, Field(ge=1)] | None = None
    """Requests of one consumer that one process works on at a time, until their answers begin; the
    next ones wait, so that those of others come between. null: any number."""


class AuditTrail(Section):
    """The audit trail: FHIR R4 AuditEvents by IHE BALP, one for each disclosure and denial."""

    spool: Path | None = None
    """Folder of this machine in which events are kept until they are shipped; null: no trail."""
    max_mb: Annotated[int, Field(ge=1, le=1048576)] = 256
    """Size of the folder at which no more is written."""
    on_full: Literal["deny", "drop"] = "deny"
    """What happens when no more can be written: `deny` every request, or `drop` the events."""
    fhir_url: WebUrl | None = None
    """Base of the FHIR R4 server that events are posted to; null: they stay in the folder."""
    auth: Auth = NoAuth()
    """How the gateway proves itself to that server."""
    tls: Tls | None = None
    """Certificates for connections to it."""


class Settings(Section):
    """The whole configuration file."""

    server: Server = Server()
    """Where the gateway listens."""
    archives: dict[ArchiveId, AnyArchive] = {}
    """The archives by id; their order is the order of preference."""
    endpoints: Endpoints = Endpoints()
    """Which Endpoints an ImagingStudy carries."""
    fhir: Fhir = Fhir()
    """The FHIR facade."""
    viewers: dict[str, Viewer] = {}
    """Viewers by name."""
    iid: Iid = Iid()
    """Invoke Image Display."""
    cache: Cache = Cache()
    """Caching."""
    auth: Access = Access()
    """Who is let in."""
    policies: dict[str, Policy] = {}
    """What exists for whom, by name."""
    consumers: dict[str, ConsumerSettings] = {}
    """Callers known by token."""
    limits: Limits = Limits()
    """What each consumer may ask for."""
    audit: AuditTrail = AuditTrail()
    """Who saw what."""
