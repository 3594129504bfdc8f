"""Links to searches that were posted: what was asked for is in them, and nobody can read it.

Whoever posts a search keeps its criteria out of addresses, which are logged on the way. So the
links of its pages carry them encrypted and authenticated (AES-256-GCM), together with the time,
tied to what the caller names: one version, one resource type, one consumer. No state is kept.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from gateway.errors import BadRequest, Gone

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LIFE_SECONDS = 24 * 3600
NONCE_BYTES = 12
Pairs = Sequence[tuple[str, str]]
_MARK = "e."
_LABEL = b"dicomweb-gateway links of posted FHIR searches"
_BESIDE = frozenset({"_page", "_format", "_pretty"})
_decoded = msgspec.msgpack.Decoder(tuple[int, list[tuple[str, str]]]).decode
_encoded = msgspec.msgpack.Encoder().encode


def sealed(secret: str, bound_to: str, pairs: Pairs, now_seconds: int, nonce: bytes) -> Pairs:
    """The one parameter that stands for all of `pairs`; a nonce is never used twice."""
    content = zlib.compress(_encoded((now_seconds, list(pairs))))
    raw = nonce + _cipher(secret).encrypt(nonce, content, bound_to.encode())
    return [("_page", _MARK + base64.urlsafe_b64encode(raw).decode().rstrip("="))]


def opened(secret: str, bound_to: str, pairs: Pairs, now_seconds: int) -> Pairs | None:
    """The parameters that a sealed one among `pairs` stands for; None: there is none.

    BadRequest for one that is forged, bound to something else, or not alone; Gone when its time
    is over.
    """
    tokens = [text for name, text in pairs if name == "_page"]
    if not any(text.startswith(_MARK) for text in tokens):
        return None
    if len(tokens) > 1 or not _BESIDE.issuperset(name for name, _ in pairs):
        raise BadRequest("_page stands for a whole search already", parameter="_page")
    issued_seconds, asked = _content(secret, bound_to, tokens[0].removeprefix(_MARK))
    if now_seconds - issued_seconds > LIFE_SECONDS:
        raise Gone("this link was good for a day: search again")
    return asked


def _content(secret: str, bound_to: str, text: str) -> tuple[int, list[tuple[str, str]]]:
    from cryptography.exceptions import InvalidTag

    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        nonce, rest = raw[:NONCE_BYTES], raw[NONCE_BYTES:]
        content = _cipher(secret).decrypt(nonce, rest, bound_to.encode())
    except (binascii.Error, ValueError, InvalidTag):
        raise BadRequest("_page does not belong to this search", parameter="_page") from None
    return _decoded(zlib.decompress(content))


def _cipher(secret: str) -> AESGCM:
    """What seals and opens; imported for the first link, since most gateways make none."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL).derive(secret.encode())
    return AESGCM(key)
