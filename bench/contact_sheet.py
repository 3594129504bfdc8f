"""A sheet of the thumbnails of everything: the demonstration, pydicom's files, odd encodings.

Run: .venv/bin/python bench/contact_sheet.py docs/thumbnails.png. All objects go into a folder, a
gateway is started over it, and every thumbnail is asked of that gateway; anything but a picture
ends the run.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import pydicom
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, SecondaryCaptureImageStorage

from gateway import demo
from gateway.adapters.dicom_files import hush
from tests import odd_images
from tests.gateways import Gateway

SIDE, LABEL, ACROSS = 96, 12, 14
ROOT = "1.2.826.0.1.3680043.8.498.9"
VIDEO = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
write = sys.stdout.write


def fill(folder: Path) -> dict[str, str]:
    """Puts the objects into the folder; their names by SOPInstanceUID."""
    demo.build(folder / "demonstration")
    names = {}
    for path in sorted((folder / "demonstration").rglob("*")):
        if path.is_file() and path.name != "DICOMDIR":
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            names[str(dataset.SOPInstanceUID)] = f"{dataset.get('Modality', '')} {path.stem}"
    for number, (name, content) in enumerate(_others(), 1):
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        _name(dataset, number)
        try:
            dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        except (ValueError, TypeError, AttributeError, KeyError):
            names[_as_it_is(folder, number, content)] = name
            continue
        names[f"{ROOT}.3.{number}"] = name
    return names


def _as_it_is(folder: Path, number: int, content: bytes) -> str:
    """Puts a file that cannot be written anew into the folder; its own SOPInstanceUID."""
    (folder / f"{number}.dcm").write_bytes(content)
    return str(pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).SOPInstanceUID)


def _others() -> Iterator[tuple[str, bytes]]:
    """Files of pydicom of every kind, odd encodings, and a video."""
    for path in sorted(odd_images.FILES.glob("*.dcm")):
        yield path.stem, path.read_bytes()
    for kind, files in odd_images.KINDS.items():
        for name, content in files().items():
            if not any(uid.encode() in content[:400] for uid in odd_images.UNKNOWN_TO_PYDICOM):
                yield f"{kind}: {name}", content
    video = odd_images.file("1.2.840.10008.1.2.4.102", pydicom.encaps.encapsulate([b"video"]))
    dataset = pydicom.dcmread(io.BytesIO(video))
    dataset.SOPClassUID, dataset.Modality = UID(VIDEO), "ES"
    written = io.BytesIO()
    dataset.save_as(written)
    yield "a video", written.getvalue()


def _name(dataset: pydicom.Dataset, number: int) -> None:
    """UIDs of its own, and what a file needs to be held by an archive."""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2.{number}"
    dataset.SOPInstanceUID = UID(f"{ROOT}.3.{number}")
    if "SOPClassUID" not in dataset:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
    if not hasattr(dataset, "file_meta") or "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        dataset.file_meta = FileMetaDataset()
        syntax = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
        dataset.file_meta.TransferSyntaxUID = UID(syntax if little else "1.2.840.10008.1.2.2")
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def shown(gateway: Gateway) -> Iterator[tuple[str, Image.Image]]:
    """Every instance that the gateway tells of, and its thumbnail."""
    rows = json.loads(read(f"{gateway.dicom_web}/instances?limit=1000"))
    for row in rows:
        study, series, instance = (row[t]["Value"][0] for t in ("0020000D", "0020000E", "00080018"))
        path = f"/studies/{study}/series/{series}/instances/{instance}/thumbnail"
        body = read(f"{gateway.dicom_web}{path}?viewport={SIDE},{SIDE}&accept=image/png")
        yield instance, Image.open(io.BytesIO(body)).convert("RGB")


def read(url: str) -> bytes:
    """The body of a 200; HTTPError else."""
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  our own gateway
        return bytes(answer.read())


def sheet(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    """All pictures side by side, each over its name."""
    down = -(-len(pictures) // ACROSS)
    image = Image.new("RGB", (ACROSS * (SIDE + 6), down * (SIDE + LABEL + 6)), "#303a46")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(9)
    for number, (name, picture) in enumerate(pictures):
        left, top = number % ACROSS * (SIDE + 6) + 3, number // ACROSS * (SIDE + LABEL + 6) + 3
        image.paste(picture, (left + (SIDE - picture.width) // 2, top + SIDE - picture.height))
        pen.text((left, top + SIDE + 1), _short(name), fill="#dbe2ea", font=font)
    return image


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:9]}…{name[-9:]}"


def main() -> None:
    """Writes the sheet to where the command line says."""
    hush()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        folder, log = Path(place, "objects"), Path(place, "gateway")
        folder.mkdir()
        log.mkdir()
        names = fill(folder)
        archives = {"all": {"type": "folder", "path": str(folder)}}
        with Gateway(log, archives) as gateway:
            pictures = dict(shown(gateway))
    found = sorted(((names.get(i, i), p) for i, p in pictures.items()), key=lambda one: one[0])
    image = sheet(found).quantize(224, dither=Image.Dither.NONE)
    image.save(sys.argv[1], optimize=True)
    missing = len(names) - len(found)
    write(f"{len(found)} thumbnails, {missing} objects unknown to the gateway\n")


if __name__ == "__main__":
    main()
