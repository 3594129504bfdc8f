"""The settings of archives, one frozen model for each type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.config_servers import Auth, NoAuth, Tls
from gateway.config_types import Name, Seconds, Section, WebUrl, Zone

PublishedType = Literal["dicom-wado-rs", "dicom-wado-uri", "dicom-qido-rs", "ihe-iid"]


class Custodian(Section):
    """An organization that answers for what an archive holds."""

    name: Name
    """Its name."""
    system: str | None = None
    """System of its identifier, a URI."""
    identifier: str | None = None
    """Its identifier in that system."""


class Archive(Section):
    """What every archive has, whatever its type."""

    timezone: Zone | None = None
    """IANA zone of times without an offset; without it FHIR resources give the date alone."""
    patient_system: str | None = None
    """Identifier system of Patient IDs whose issuer has no system of its own."""
    accession_system: str | None = None
    """Identifier system of Accession Numbers whose issuer has no system of its own."""
    issuer_systems: dict[str, str] = {}
    """Identifier system for each local issuer namespace (IssuerOfPatientID and the like)."""
    custodian: Custodian | None = None
    """Who keeps the images of this archive; told as a performer of each of its series."""
    show_rejected: bool = False
    """Shows what rejection notes (IHE IOCM) of this archive reject, and the notes.

    Without it, instances that a key object selection rejects (DCM 113001, 113037, 113038, 113039)
    do not exist, nor does the note.
    """
    publish: dict[PublishedType, WebUrl] = {}
    """Addresses of this archive that consumers may use without passing through the gateway."""


class DicomwebArchive(Archive):
    """A PACS that speaks DICOMweb (PS3.18)."""

    type: Literal["dicomweb"]
    """Kind of archive."""
    qido_rs: WebUrl | None
    """Base of its QIDO-RS service, without `/studies`; null: it has none.

    Without it, servers of `fhir.servers` tell which studies it holds.
    """
    wado_rs: WebUrl | None = None
    """Base of its WADO-RS service; where the key is left out: the same as `qido_rs`.

    null, written out: it has none, and objects come by `wado_uri`.
    """
    wado_uri: WebUrl | None = None
    """Address of its WADO-URI service, where it has one."""
    wado_uri_options: tuple[Literal["annotation", "anonymize", "presentation"], ...] = ()
    """What its WADO-URI service does that the gateway does not; `/wado` passes it on there.

    `annotation`: draws text; `anonymize`: takes identities out; `presentation`: applies
    presentation states.
    """
    auth: Auth = NoAuth()
    """The gateway's credentials at the archive."""
    tls: Tls | None = None
    """Certificates for connections to it; null: those of the system, and none of the gateway's."""
    max_concurrency: Annotated[int, Field(ge=1, le=1000)] = 8
    """Requests of each process under way there at any one time; more wait for their turn."""
    queue_seconds: Seconds = 10
    """How long a request waits for its turn before it is answered with 503."""
    connect_timeout_seconds: Seconds = 2
    """How long opening a connection may take."""
    timeout_seconds: Seconds = 15
    """How long the first byte of an answer, and then each next one, may take.

    Answers in JSON, which are read as a whole, may take four times as long in all; objects as long
    as they keep coming.
    """
    instance_level: Literal["search", "metadata"] = "search"
    """How the instances of a study are listed, in one request either way.

    `search`: QIDO-RS. `metadata`: WADO-RS metadata of the whole study, which some archives give
    sooner, and which tell anatomy of frames, sides, specimens and reasons as well; by search where
    they are more than `max_json_mb`.
    """
    study_level: Literal["search", "series"] = "search"
    """What tells the attributes of a study that is looked up, beside its series.

    `search`: a second search, for the study. `series`: the rows of its series, which saves that
    search; right for archives that tell in them, where asked, all that their rows of studies tell,
    as Orthanc does. Where those rows are not clear, the study is searched for; where that shows
    that they lack something, always from then on, and the log warns of it.
    """
    max_json_mb: Annotated[int, Field(ge=1, le=4096)] = 64
    """Largest JSON answer read from the archive, in MiB after inflation."""

    @property
    def wado_rs_base(self) -> str | None:
        """Base of its WADO-RS service; None: it has none."""
        return self.wado_rs if "wado_rs" in self.model_fields_set else self.qido_rs


class FolderArchive(Archive):
    """A folder of DICOM files, read-only."""

    type: Literal["folder"]
    """Kind of archive."""
    path: Path
    """The folder; read with all folders below it. Relative to the configuration file."""
    rescan_seconds: Annotated[float, Field(ge=0, le=86400 * 365)] = 60
    """How often the folder is looked at for new, changed and removed files; 0: only at start."""


AnyArchive = Annotated[DicomwebArchive | FolderArchive, Field(discriminator="type")]
