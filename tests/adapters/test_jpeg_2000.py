"""Lower resolutions are cut out of the codestreams that have them first, and of no others."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gateway.adapters.frame_source import of_file
from gateway.adapters.jpeg_2000 import codestream
from tests import odd_images

SIDES = (224, 160)


def written(sides: tuple[int, int] = SIDES, **more: Any) -> bytes:
    """Noise on a ramp, in the way of Pillow's writer that `more` says."""
    noise = np.random.default_rng(5).normal(0, 40, sides)
    values = np.add.outer(np.arange(sides[0]) * 9, np.arange(sides[1]) * 5) + noise
    image = Image.fromarray(np.clip(values, 0, 4095).astype(np.uint16))
    content = io.BytesIO()
    image.save(content, "JPEG2000", **{"no_jp2": True, **more})
    return content.getvalue()


def decoded(content: bytes, halvings: int) -> Any:
    with Image.open(io.BytesIO(content), formats=("JPEG2000",)) as image:
        image.reduce = halvings  # type: ignore[assignment, method-assign]  # as Pillow wants it
        image.load()
        return np.asarray(image).copy()


@pytest.mark.parametrize("halvings", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"irreversible": True},
        {"irreversible": True, "quality_layers": [20]},
        {"codeblock_size": (32, 32), "progression": "RPCL"},
        {"progression": "CPRL"},
        {"tile_size": (512, 512)},
    ],
    ids=["lossless", "9/7", "lossy", "RPCL", "CPRL", "large tile"],
)
def test_lower_resolution_is_what_a_decoder_finds(more: dict[str, Any], halvings: int) -> None:
    content = written(**more)
    stream = codestream(content)
    assert stream is not None
    reduced = stream.reduced(halvings)
    assert reduced is not None
    assert np.array_equal(decoded(reduced, 0), decoded(content, halvings))


@pytest.mark.parametrize("halvings", [1, 2, 3, 4])
def test_odd_sides_are_rounded_up(halvings: int) -> None:
    """Where Pillow finds no resolution below the second."""
    stream = codestream(written((203, 150)))
    assert stream is not None
    small = decoded(stream.reduced(halvings) or b"", 0).astype(float)
    assert small.shape == (-(-203 >> halvings), -(-150 >> halvings))
    ramp = np.add.outer(np.arange(203) * 9, np.arange(150) * 5)[:: 1 << halvings, :: 1 << halvings]
    assert abs(small - ramp)[1:-1, 1:-1].mean() < 40


@pytest.mark.parametrize(
    "more",
    [
        {"quality_layers": [40, 20, 10]},
        {"tile_size": (64, 64)},
        {"precinct_size": (64, 64), "codeblock_size": (32, 32)},
        {"no_jp2": False},
        {"num_resolutions": 2},
    ],
    ids=["layers", "tiles", "precincts", "in boxes", "too few"],
)
def test_others_are_left_to_the_decoder(more: dict[str, Any]) -> None:
    stream = codestream(written(**more))
    assert stream is not None
    assert stream.reduced(2) is None


@pytest.mark.parametrize(
    ("marker", "at", "value"),
    [(b"\xff\x51", 17, 8), (b"\xff\x51", 41, 2), (b"\xff\x52", 4, 2), (b"\xff\x90", 13, 0x52)],
    ids=["offset", "fewer samples", "marked packets", "coding of a tile"],
)
def test_others_are_told_by_their_heads(marker: bytes, at: int, value: int) -> None:
    content = bytearray(written())
    content[content.index(marker) + at] = value
    stream = codestream(bytes(content))
    assert stream is not None
    assert stream.reduced(2) is None


def test_not_halved_is_not_reduced() -> None:
    stream = codestream(written())
    assert stream is not None
    assert stream.reduced(0) is None
    assert (stream.components, stream.precision, stream.levels) == (1, 16, 5)
    assert stream.samples == SIDES[0] * SIDES[1]


@pytest.mark.parametrize("name", ["JPEG 2000", "High-Throughput JPEG 2000"])
def test_stored_frames_are_reduced_as_decoders_do(name: str) -> None:
    content = of_file(odd_images.greys()[name], None).encoded
    stream = codestream(content)
    assert stream is not None
    if (reduced := stream.reduced(1)) is not None:
        assert np.array_equal(decoded(reduced, 0), decoded(content, 1))


@pytest.mark.parametrize("length", [0, 3, 20, 44, 60, 100])
def test_cut_heads_are_no_codestream_or_have_no_levels(length: int) -> None:
    stream = codestream(written()[:length])
    assert stream is None or stream.reduced(2) is None
