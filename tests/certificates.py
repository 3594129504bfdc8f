"""An authority that issues certificates for servers and clients of the tests."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate and its private key, each in a file."""

    cert_file: Path
    key_file: Path
    ca_file: Path
    """The certificate of who issued it."""

    def section(self, **more: Any) -> dict[str, Any]:
        """The settings of a gateway that shows it."""
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        return {name: str(path) for name, path in files.items()} | more

    def served(self) -> ssl.SSLContext:
        """The context of a server with it, which demands one of the same authority."""
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca_file)
        made.load_cert_chain(self.cert_file, self.key_file)
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    def move_to(self, other: Issued) -> None:
        """Take the place of the files of `other`, as tools do that renew certificates."""
        self.cert_file.replace(other.cert_file)
        self.key_file.replace(other.key_file)


class Authority:
    """Issues certificates into `folder`."""

    def __init__(self, folder: Path, name: str = "Authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = folder / f"{name}.pem"
        usages = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        own = (
            _builder(self._name, self._name, self._key, -DAY, 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usages, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(own.public_bytes(Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        host: str = "127.0.0.1",
        since: dt.timedelta = -DAY,
        until: dt.timedelta = 90 * DAY,
        password: str | None = None,
    ) -> Issued:
        """A certificate that is good from and until then, counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        made = (
            _builder(subject, self._name, key, since, until)
            .add_extension(alternative, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        found = Issued(
            cert_file=self._folder / f"{name}.crt",
            key_file=self._folder / f"{name}.key",
            ca_file=self.ca_file,
        )
        found.cert_file.write_bytes(made.public_bytes(Encoding.PEM))
        sealed = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
        found.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
        return found


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    since: dt.timedelta,
    until: dt.timedelta,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now + since,
        not_valid_after=now + until,
    )
