"""TLS with one server: whom the gateway trusts there, and the certificate that it shows.

The files are looked at again while the gateway runs, since certificates are replaced long before
the process is. Files that cannot be used, such as a new certificate whose key is not there yet,
change nothing; the ones that were read before go on.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator

import structlog

from gateway.config_servers import Tls

LOOK_SECONDS = 2.0
"""How long files are taken for unchanged."""
_VERIFICATIONS = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    62: "its certificate is for another host",
    64: "its certificate is for another host",
}
"""What is wrong with a server's certificate, by OpenSSL's X509_V_ERR codes."""
_ALERTS = {
    "CERTIFICATE_REQUIRED": "it asks for a certificate of the gateway",
    "CERTIFICATE_EXPIRED": "it says that the gateway's certificate has expired",
    "UNKNOWN_CA": "it does not trust who issued the gateway's certificate",
    "CERTIFICATE": "it refuses the gateway's certificate",
    "ACCESS_DENIED": "it refuses the gateway's certificate",
    "HANDSHAKE_FAILURE": "it refuses the gateway's certificate, or asks for one",
}
"""What a server says of ours, by alerts (RFC 8446 §6.2); the first that is part of the reason."""
_Stamp = tuple[tuple[int, int, int] | None, ...]
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class UnusableFiles(OSError):
    """The files cannot be read, or do not belong together."""


class Certificates:
    """The contexts of connections to `name`; `clock` reads seconds that never go back."""

    def __init__(
        self, name: str, section: Tls | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._section = section
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._stamp: _Stamp = ()
        self._good_until = float("-inf")
        self._looking = asyncio.Lock()

    async def context(self) -> ssl.SSLContext | bool:
        """What connections are opened with; True: the system's authorities, and no certificate.

        UnusableFiles where the files never were of use.
        """
        if (held := self.at_hand()) is not None:
            return held
        if self._section is not None:
            async with self._looking:
                if self._clock() >= self._good_until:
                    await self._look(self._section)
                    self._good_until = self._clock() + LOOK_SECONDS
        if self._context is None:
            raise UnusableFiles("certificates cannot be used")
        return self._context

    def at_hand(self) -> ssl.SSLContext | bool | None:
        """What `context` gives if no file need be looked at; None: one must."""
        if self._section is None:
            return True
        return self._context if self._clock() < self._good_until else None

    async def _look(self, section: Tls) -> None:
        """Reads the files if they changed since they were read, or tried, the last time."""
        stamp = await asyncio.to_thread(_stamp, section)
        if stamp == self._stamp:
            return
        try:
            self._context = await asyncio.to_thread(context, section)
        except (OSError, ValueError) as error:
            cause = type(error).__name__
            _log.warning("certificates cannot be used", server=self._name, cause=cause)
        self._stamp = stamp


def context(section: Tls) -> ssl.SSLContext:
    """The context that a section describes; OSError, ValueError: its files are of no use."""
    made = ssl.create_default_context(cafile=section.ca_file)
    made.set_alpn_protocols(["http/1.1"])
    if section.cert_file is not None:
        password = section.key_password.get_secret_value() if section.key_password else ""
        made.load_cert_chain(section.cert_file, section.key_file, lambda: password)
    return made


def trouble(error: BaseException) -> tuple[str, bool] | None:
    """What of TLS is behind `error`, and whether the server refuses us; None: something else."""
    for one in _causes(error):
        if isinstance(one, UnusableFiles):
            return "the certificates for it cannot be used", False
        if isinstance(one, ssl.SSLCertVerificationError) and hasattr(one, "verify_code"):
            return _VERIFICATIONS.get(one.verify_code, "its certificate is not trusted"), False
        if isinstance(one, ssl.SSLError) and not isinstance(one, ssl.SSLCertVerificationError):
            refusal = _refusal(str(one))
            return ("no TLS connection", False) if refusal is None else (refusal, True)
    return None


def _refusal(reason: str) -> str | None:
    """What a server says of our certificate; None: it says nothing of it."""
    told = (words for part, words in _ALERTS.items() if part in reason)
    return next(told, None) if "_ALERT_" in reason else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it, as far as anything is."""
    found: BaseException | None = error
    for _ in range(8):
        if found is None:
            return
        yield found
        certificate_error = getattr(found, "certificate_error", None)
        behind = certificate_error or getattr(found, "os_error", None) or found.__cause__
        found = behind if isinstance(behind, BaseException) else found.__context__


def _stamp(section: Tls) -> _Stamp:
    """What changes when one of the files does; None for one that is not there."""
    found: list[tuple[int, int, int] | None] = []
    for path in (section.ca_file, section.cert_file, section.key_file):
        try:
            status = None if path is None else path.stat()
        except OSError:
            status = None
        told = None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
        found.append(told)
    return tuple(found)
