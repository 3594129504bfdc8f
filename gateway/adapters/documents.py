"""What an object that is no image shows: its PDF, its text, its video; runs in a worker process.

It blocks, and reads bytes that nobody vouches for. Text of a report is written anew and escaped:
nothing of the object runs in a browser.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pydicom
from pydicom import Dataset
from pydicom.encaps import generate_fragments

from gateway.adapters.frame_source import Undrawable

_MAX_DEPTH = 60
_PDF = "application/pdf"
_HTML, _PLAIN = "text/html", "text/plain"
_VIDEO_STARTS = (
    (4, b"ftyp", "video/mp4"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"\x00\x00\x01\xb3", "video/mpeg"),
)
"""Where a container's mark stands, the mark, and its media type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a report: `depth` below the title, its concept name and its value."""

    depth: int
    name: str
    value: str


def read(content: bytes | memoryview, media_types: Sequence[str]) -> tuple[bytes, str]:
    """What a Part 10 file holds, and as which of `media_types`, the best first. Undrawable."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    if "EncapsulatedDocument" in dataset:
        return _encapsulated(dataset, media_types)
    if "PixelData" in dataset:
        return _video(dataset, media_types)
    if "ContentSequence" not in dataset and "ConceptNameCodeSequence" not in dataset:
        raise Undrawable("there is no document")
    kind = next((t for t in media_types if t in {_HTML, _PLAIN}), None)
    if kind is None:
        raise Undrawable("a report is text")
    lines = list(report(dataset))
    return (_as_html(lines) if kind == _HTML else _as_text(lines)).encode(), kind


def _encapsulated(dataset: Dataset, media_types: Sequence[str]) -> tuple[bytes, str]:
    """The document as it was put in (PS3.3 §C.24.2); only PDF is known to be harmless to show."""
    body = bytes(dataset.EncapsulatedDocument)
    length = int(dataset.get("EncapsulatedDocumentLength") or 0)
    body = body[:length] if 0 < length <= len(body) else body.removesuffix(b"\0")
    if _PDF not in media_types or not body.startswith(b"%PDF-"):
        raise Undrawable("the document is no PDF")
    return body, _PDF


def _video(dataset: Dataset, media_types: Sequence[str]) -> tuple[bytes, str]:
    """The bit stream in its container (PS3.5 §8.2.5 to §8.2.8); a bare stream is no file."""
    if not dataset.file_meta.TransferSyntaxUID.name.startswith(("MPEG", "HEVC")):
        raise Undrawable("there is no video")
    _, *fragments = generate_fragments(dataset.PixelData)
    body = b"".join(fragments)
    for at, mark, kind in _VIDEO_STARTS:
        if body.startswith(mark, at) and kind in media_types:
            return body, kind
    raise Undrawable("the video is in another container")


def report(dataset: Dataset) -> Iterator[Line]:
    """A structured report (PS3.3 §C.17.3): its title, whom it is about, its content tree."""
    yield Line(depth=0, name=_meaning(dataset, "ConceptNameCodeSequence") or "Report", value="")
    for name, keyword in (("Patient", "PatientName"), ("Patient ID", "PatientID")):
        if value := str(dataset.get(keyword) or ""):
            yield Line(depth=1, name=name, value=value.replace("^", " ").replace("=", " = "))
    if state := str(dataset.get("VerificationFlag") or ""):
        yield Line(depth=1, name="Verification", value=state.lower())
    yield from _items(dataset, 1)


def _items(parent: Dataset, depth: int) -> Iterator[Line]:
    for item in parent.get("ContentSequence") or ():
        name = _meaning(item, "ConceptNameCodeSequence")
        value = _value(item)
        if name or value:
            yield Line(depth=depth, name=name, value=value)
        if depth < _MAX_DEPTH:
            yield from _items(item, depth + 1)


def _value(item: Dataset) -> str:
    """The value of a content item by its type (PS3.3 Table C.17.3-7)."""
    kind = str(item.get("ValueType") or "")
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        measured = _first(item, "MeasuredValueSequence")
        unit = _meaning(measured, "MeasurementUnitsCodeSequence", "CodeValue")
        return f"{measured.get('NumericValue', '')} {'' if unit == '1' else unit}".strip()
    if kind in {"IMAGE", "COMPOSITE", "WAVEFORM"}:
        referenced = _first(item, "ReferencedSOPSequence")
        named = getattr(referenced.get("ReferencedSOPClassUID"), "name", "")
        return f"{kind.lower()}: {named}" if named else kind.lower()
    return str(item.get(_TEXTS.get(kind, "")) or "")


_TEXTS = {
    "TEXT": "TextValue",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
    "UIDREF": "UID",
}


def _meaning(dataset: Dataset, keyword: str, wanted: str = "CodeMeaning") -> str:
    return str(_first(dataset, keyword).get(wanted) or "")


def _first(dataset: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence; an empty one where there is none."""
    items = dataset.get(keyword)
    return items[0] if items else Dataset()


def _as_text(lines: Sequence[Line]) -> str:
    return "".join(f"{'  ' * one.depth}{_told(one)}\n" for one in lines)


def _told(line: Line) -> str:
    return f"{line.name}: {line.value}" if line.name and line.value else line.name or line.value


def _as_html(lines: Sequence[Line]) -> str:
    title = html.escape(lines[0].name)
    body = "".join(
        f'<p style="margin:.2rem 0 .2rem {one.depth - 1}rem"><b>{html.escape(one.name)}</b> '
        f'<span style="white-space:pre-wrap">{html.escape(one.value)}</span></p>'
        for one in lines[1:]
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<body><h1>{title}</h1>{body}</body></html>"
    )
