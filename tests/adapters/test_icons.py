"""Every kind of object without a picture has an icon of its own, within the size asked for."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from gateway.adapters.icons import icon, kind_of

KINDS = (
    *("SR", "KO", "PR", "PDF", "CDA", "DOC", "3D", "RT", "SEG", "REG", "ECG", "WAVE", "AUDIO"),
    *("VIDEO", "IMAGE"),
)


@pytest.mark.parametrize(
    ("sop_class", "modality", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.11", "SR", "SR"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "KO", "KO"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "PR", "PR"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "DOC", "PDF"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN", "RT"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "SEG"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "ECG", "ECG"),
        ("1.2.840.10008.5.1.4.1.1.104.2", "DOC", "CDA"),
        ("1.2.840.10008.5.1.4.1.1.104.3", "M3D", "3D"),
        ("1.2.840.10008.5.1.4.1.1.104.4", "M3D", "3D"),
        (None, "DOC", "DOC"),
        ("1.2.840.10008.5.1.4.1.1.66", "OT", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.66.1", "REG", "REG"),
        ("1.2.840.10008.5.1.4.1.1.66.2", "FID", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.66.3", "REG", "REG"),
        ("1.2.840.10008.5.1.4.1.1.66.5", "SEG", "SEG"),
        ("1.2.840.10008.5.1.4.1.1.66.6", "MR", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "SEG", "SEG"),
        ("1.2.840.10008.5.1.4.1.1.9.2.1", "HD", "WAVE"),
        ("1.2.840.10008.5.1.4.1.1.9.4.1", "AU", "AUDIO"),
        ("1.2.840.10008.5.1.4.1.1.9.8.1", "POS", "WAVE"),
        ("1.2.840.10008.5.1.4.1.1.77.1.1.1", "ES", "VIDEO"),
        ("1.2.840.10008.5.1.4.1.1.77.1.1", "ES", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.2", "CT", "IMAGE"),
        (None, "SR", "SR"),
        (None, None, "IMAGE"),
        ("1.2.3", "XX", "IMAGE"),
    ],
)
def test_kind_follows_the_sop_class_and_then_the_modality(
    sop_class: str | None, modality: str | None, kind: str
) -> None:
    assert kind_of(sop_class, modality) == kind


def test_kinds_look_different() -> None:
    assert len({icon(kind, 128, 128, "image/png") for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    ("width", "height", "side"), [(128, 64, 64), (1, 1, 1), (9999, 9999, 1024)]
)
def test_icon_fits_the_box(width: int, height: int, side: int) -> None:
    assert Image.open(io.BytesIO(icon("SR", width, height, "image/jpeg"))).size == (side, side)


def test_media_type_is_the_one_asked_for() -> None:
    assert icon("SR", 64, 64, "image/png").startswith(b"\x89PNG")
    assert icon("SR", 64, 64, "image/gif").startswith(b"GIF8")
    assert icon("SR", 64, 64, "image/jpeg").startswith(b"\xff\xd8")
