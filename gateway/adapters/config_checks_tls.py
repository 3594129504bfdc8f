"""Certificates that are configured: whether they are there, belong together, and are still good."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import BaseModel

from gateway.adapters import tls
from gateway.adapters.config_findings import Finding, Rule
from gateway.adapters.config_yaml import Path
from gateway.config import Settings
from gateway.config_servers import Tls

if TYPE_CHECKING:
    from cryptography import x509

SOON = dt.timedelta(days=14)
"""Certificates that end within this time are told of, or in the last fifth of shorter lives."""
_FILES = ("ca_file", "cert_file", "key_file")


def sections(section: BaseModel, path: Path = ()) -> Iterator[tuple[Path, BaseModel, Tls]]:
    """Every `tls` below a section: its path, the section that it is in, and itself."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Tls):
            yield (*path, name), section, value
        for key, below in _children(value):
            if isinstance(below, BaseModel):
                yield from sections(below, (*path, name, *key))


def _children(value: object) -> Iterator[tuple[Path, object]]:
    if isinstance(value, dict):
        yield from (((key,), below) for key, below in value.items())
    elif isinstance(value, tuple):
        yield from (((index,), below) for index, below in enumerate(value))
    else:
        yield (), value


def _files(settings: Settings) -> Iterator[Finding]:
    """Files that are missing, and others that are of no use."""
    for path, _, section in sections(settings):
        missing = [name for name in _FILES if not _is_readable(getattr(section, name))]
        for name in missing:
            message = f'"{getattr(section, name)}" cannot be read'
            yield (*path, name), message, "Name a file in PEM that the gateway can read."
        if not missing:
            yield from (((*path, name), *told) for name, told in _useless(section))


def _is_readable(path: pathlib.Path | None) -> bool:
    try:
        if path is not None:
            path.open("rb").close()
    except OSError:
        return False
    return True


def _useless(section: Tls) -> Iterator[tuple[str, tuple[str, str]]]:
    """The key that is to blame, and message and remedy, where the files are of no use."""
    empty = [
        name
        for name in ("ca_file", "cert_file")
        if getattr(section, name) is not None and not _certificates(getattr(section, name))
    ]
    for name in empty:
        yield name, ("no certificate in PEM is in it", "Name a file in PEM.")
    if section.cert_file is None and section.key_file is not None:
        yield "key_file", ("a key without its certificate", "Name cert_file as well.")
    elif section.cert_file is not None and not empty:
        key = section.key_file or section.cert_file
        try:
            tls.context(section)
        except (OSError, ValueError) as error:
            yield "key_file" if section.key_file else "cert_file", _reason(error, key.read_bytes())


def _reason(error: Exception, key: bytes) -> tuple[str, str]:
    """Why certificate and key are of no use."""
    if "MISMATCH" in str(error):
        return "the private key is not that of the certificate", "Name the two that were made."
    if b"ENCRYPTED" in key:
        words = "the private key is encrypted, and key_password does not open it"
        return words, "Give key_password, as `${NAME}` or `{file: path}`."
    return "no private key in PEM is in it", "Name key_file, in PEM."


def _ending(settings: Settings) -> Iterator[Finding]:
    now = dt.datetime.now(dt.UTC)
    for path, _, section in sections(settings):
        for one in _certificates(section.cert_file)[:1]:
            since, until = one.not_valid_before_utc, one.not_valid_after_utc
            remedy = "Renew it; the gateway reads it again when the file changes."
            if now < since:
                yield (*path, "cert_file"), f"the certificate is not valid before {since}", remedy
            elif now >= until:
                yield (*path, "cert_file"), f"the certificate has expired on {until}", remedy
            elif until - now < min(SOON, (until - since) / 5):
                yield (*path, "cert_file"), f"the certificate expires on {until}", remedy


def _certificates(path: pathlib.Path | None) -> list[x509.Certificate]:
    """The certificates in a file; none where it holds none."""
    if path is None:
        return []
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []


def _idle(settings: Settings) -> Iterator[Finding]:
    for path, around, section in sections(settings):
        if section == Tls():
            yield path, "an empty section changes nothing", "Name ca_file or cert_file."
        for name in type(around).model_fields:
            url = getattr(around, name)
            if name in _ADDRESSES and url and urlsplit(url).scheme == "http":
                message = f"has no effect on `{name}`, which is not https"
                yield path, message, "Use https, or remove it."


_ADDRESSES = frozenset(
    {"url", "token_url", "qido_rs", "wado_rs", "wado_uri", "jwks_url", "introspection_url",
     "fhir_url"}
)  # fmt: skip
_UNSAID = ("archives.@.type",)
RULES = (
    Rule(_files, _UNSAID),
    Rule(_ending, _UNSAID, is_warning=True),
    Rule(_idle, _UNSAID, is_warning=True),
)
