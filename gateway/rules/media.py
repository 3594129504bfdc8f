"""Media types of DICOMweb: what a caller accepts, and what the gateway answers (PS3.18 §8.7).

Accept is read tolerantly (quotes, wildcards, several fields, none at all, the `accept` query
parameter) and answered strictly: what goes out is one of the types that were asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gateway.errors import NotAcceptable
from gateway.model import ByteRange
from gateway.rules.dicom_json import is_uid

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
IMAGES = JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
"""What pictures go out as."""
OCTET_STREAM = "application/octet-stream"
MULTIPART = "multipart/related"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
ANY = "*"
_REMEMBERED = 256
"""How many Accept fields are remembered with what they mean; clients send few different ones."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 token, not a secret
_RANGE = re.compile(rf"\s*({_TOKEN})/({_TOKEN})\s*")
_PARAMETER = re.compile(
    rf";\s*(?:({_TOKEN})\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;,\"]*)))?)?\s*", re.DOTALL
)
_QUALITY = re.compile(r"[01]?(\.\d{0,3})?", re.ASCII)

FRAME_TYPES = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.4.100": "video/mpeg2",
    "1.2.840.10008.1.2.4.101": "video/mpeg2",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
    "1.2.840.10008.1.2.4.107": "video/H265",
    "1.2.840.10008.1.2.4.108": "video/H265",
}
"""Media type of a frame by its transfer syntax (PS3.18 Tables 8.7.3-2 and 8.7.3-3)."""


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One member of an Accept field (RFC 9110 §12.5.1)."""

    type: str
    parameters: tuple[tuple[str, str], ...] = ()
    quality: float = 1.0
    others: frozenset[str] = frozenset()
    """Types that another member of the field speaks of, and that a wildcard so does not mean."""

    def covers(self, kind: str) -> bool:
        """Whether this is the member that speaks of a media type: the most specific one does."""
        if self.type == kind:
            return True
        closer = {kind, f"{kind.split('/')[0]}/*"} if self.type == "*/*" else {kind}
        return _fits(self.type, kind) and not closer & self.others

    def parameter(self, name: str) -> str | None:
        """The value of a parameter; None when it is absent."""
        return dict(self.parameters).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How bodies go out: as multipart or as a single part, of which types and transfer syntaxes.

    `types` may hold wildcards (`image/*`); `transfer_syntaxes` in the order of preference, `*` for
    the stored one. `byte_range`: what is asked for of a single part, where that can be had; None:
    all of it.
    """

    is_multipart: bool
    types: tuple[str, ...]
    transfer_syntaxes: tuple[str, ...] = (ANY,)
    byte_range: ByteRange | None = None

    @property
    def is_xml(self) -> bool:
        """Whether data sets go out as XML."""
        return self.types == (DICOM_XML,)

    def takes(self, content_type: str) -> bool:
        """Whether a part of this media type is one that was asked for."""
        if OCTET_STREAM in self.types and ANY in self.transfer_syntaxes:
            return True  # the stored frame, whatever its own media type
        kind = content_type.split(";")[0].strip().lower()
        return any(_fits(wanted, kind) for wanted in self.types)


def _fits(wanted: str, kind: str) -> bool:
    return wanted in {"*/*", kind} or (wanted.endswith("/*") and kind.startswith(wanted[:-1]))


def accepted(fields: Sequence[str], parameter: str | None = None) -> tuple[MediaRange, ...]:
    """What a caller accepts, best first; a missing or empty Accept accepts everything.

    The `accept` query parameter wins over the header (PS3.18 §8.3.3.1). Members that cannot be
    read are passed over; NotAcceptable when that leaves none.
    """
    return _accepted(tuple(fields), parameter)


@lru_cache(maxsize=_REMEMBERED)
def _accepted(fields: tuple[str, ...], parameter: str | None) -> tuple[MediaRange, ...]:
    written = re.sub(r"(?<=\w) (?=\w)", "+", (parameter or "").strip())  # + is a space in a query
    text = written or ",".join(f for f in fields if f.strip())
    if not text:
        return (MediaRange("*/*"),)
    ranges = list(_ranges(text))
    named = frozenset(r.type for r in ranges if not r.parameters)
    wanted = [replace(r, others=named) for r in ranges if r.quality > 0]
    if not wanted:
        raise NotAcceptable("Accept names no media type that can be served")
    return tuple(sorted(wanted, key=lambda r: -r.quality))


def _ranges(text: str) -> Iterable[MediaRange]:
    """The members of an Accept field; commas inside quotes do not separate."""
    at = 0
    while at < len(text):
        found = _RANGE.match(text, at)
        if found is not None:
            at = found.end()
            parameters = []
            while (one := _PARAMETER.match(text, at)) is not None:
                value = one[3] or "" if one[2] is None else re.sub(r"\\(.)", r"\1", one[2])
                parameters.append(((one[1] or "").lower(), value.strip()))
                at = one.end()
            yield _media_range(f"{found[1]}/{found[2]}".lower(), parameters)
        comma = text.find(",", at)
        at = len(text) if comma < 0 else comma + 1


def _media_range(kind: str, parameters: list[tuple[str, str]]) -> MediaRange:
    quality = dict(parameters).get("q", "1")
    is_number = _QUALITY.fullmatch(quality) is not None and quality not in {"", "."}
    number = min(float(quality), 1.0) if is_number else 1.0
    return MediaRange(kind, tuple(p for p in parameters if p[0] not in {"q", ""}), number)


_OF_FRAMES = (OCTET_STREAM, *dict.fromkeys(FRAME_TYPES.values()))


def for_instances(ranges: Sequence[MediaRange], *, single: bool) -> Form:
    """The form of retrieved instances (PS3.18 §10.4). `single`: exactly one is asked for.

    Without a transfer syntax the stored one is given: transcoding unasked costs archives dearly
    and fails for what they cannot decode, where PS3.18 §8.7.3.5.1 would default to Explicit VR
    Little Endian.
    """
    return _form(tuple(ranges), types=(DICOM,), single=single, what="application/dicom")


def for_frames(ranges: Sequence[MediaRange], *, single: bool) -> Form:
    """The form of retrieved frames: uncompressed octets or the stored frame's own media type."""
    return _form(tuple(ranges), types=_OF_FRAMES, single=single, what="application/octet-stream")


def for_bulk_data(ranges: Sequence[MediaRange]) -> Form:
    """The form of bulk data: multipart unless a single part is asked for."""
    return _form(tuple(ranges), types=("*/*",), single=True, what="application/octet-stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """One way in which bodies could go out by one member of an Accept field."""

    is_multipart: bool
    type: str
    transfer_syntax: str


@lru_cache(maxsize=_REMEMBERED)
def _form(
    ranges: tuple[MediaRange, ...], *, types: tuple[str, ...], single: bool, what: str
) -> Form:
    """Multipart where it is accepted, unless a single part that always fits is liked better."""
    offers = [o for r in ranges if (o := _offer(r, types, single=single)) is not None]
    found = [o for o in offers if o.is_multipart] or offers
    if not found:
        shape = "" if single else f"{MULTIPART}; type="
        raise NotAcceptable(f"Accept must allow {shape}{what}")
    if offers[0].type in {DICOM, OCTET_STREAM}:
        found = [o for o in offers if o.is_multipart == offers[0].is_multipart]
    syntaxes = tuple(dict.fromkeys(o.transfer_syntax for o in found))
    return Form(
        is_multipart=found[0].is_multipart,
        types=tuple(dict.fromkeys(o.type for o in found)),
        transfer_syntaxes=(ANY,) if ANY in syntaxes else syntaxes,
    )


def _offer(range_: MediaRange, types: Sequence[str], *, single: bool) -> _Offer | None:
    """What one member allows of `types`; None where it allows nothing, or makes no sense."""
    is_multipart = range_.covers(MULTIPART)
    if not (is_multipart or single):
        return None
    wanted = (range_.parameter("type") or "*/*").lower() if is_multipart else range_.type
    kind, _, misplaced = (t.strip() for t in wanted.partition(";"))
    syntax = range_.parameter("transfer-syntax") or parameter_of(misplaced, "transfer-syntax")
    if syntax not in {None, "", ANY} and not is_uid(syntax or ""):
        return None
    if not any(_overlap(kind, offered.lower()) for offered in types):
        return None
    return _Offer(is_multipart=is_multipart, type=kind, transfer_syntax=syntax or ANY)


def _overlap(wanted: str, offered: str) -> bool:
    return _fits(wanted, offered) or _fits(offered, wanted)


def for_datasets(ranges: Sequence[MediaRange], *, single: bool) -> Form:
    """The form of metadata and search results (PS3.18 §8.7.3.2): JSON unless XML is liked better.

    XML comes in multipart; `single`: there is one result only, which may go out alone.
    """
    for each in ranges:
        for kind in (DICOM_JSON, "application/json"):
            if each.covers(kind):
                return Form(is_multipart=False, types=(kind,))
        wanted = (each.parameter("type") or "*/*").lower()
        if each.covers(MULTIPART) and _fits(wanted.partition(";")[0].strip(), DICOM_XML):
            return Form(is_multipart=True, types=(DICOM_XML,))
        if single and each.covers(DICOM_XML):
            return Form(is_multipart=False, types=(DICOM_XML,))
    raise NotAcceptable(f'Accept must allow {DICOM_JSON} or {MULTIPART}; type="{DICOM_XML}"')


def image_type(ranges: Sequence[MediaRange]) -> str:
    """The media type of a picture: JPEG, PNG, or GIF by name; NotAcceptable for any other."""
    for each in ranges:
        for kind in (JPEG, PNG):
            if each.covers(kind):
                return kind
        if each.type == GIF:
            return GIF
    raise NotAcceptable("Accept must allow image/jpeg, image/png or image/gif")


def transfer_syntax(content_type: str) -> str:
    """The transfer syntax of a frame by its Content-Type, by its media type where it names none."""
    if named := parameter_of(content_type, "transfer-syntax"):
        return named
    kind = content_type.split(";")[0].strip().lower()
    return next((s for s, k in FRAME_TYPES.items() if k == kind), EXPLICIT_VR_LITTLE_ENDIAN)


def chosen(ranges: Sequence[MediaRange], offered: Sequence[str]) -> str | None:
    """The one of `offered`, the best first, that is liked best; None: none is accepted."""
    return next((kind for each in ranges for kind in offered if each.covers(kind)), None)


def parameter_of(content_type: str, name: str) -> str | None:
    """A parameter of a Content-Type, quoted or not, wherever archives misplace it."""
    name = re.escape(name)
    found = re.search(
        rf'(?:^|[;"\s]){name}\s*=\s*(?:"([^"]+)"|([^";,\s]+))', content_type, re.IGNORECASE
    )
    return None if found is None else found[1] or found[2]
