"""Why there is no picture decides how its caller is told."""

from __future__ import annotations

import pytest

from gateway.adapters.thumbnail import (
    NO_SUCH_FRAME,
    OUTSIDE,
    CannotDraw,
    DecoderLost,
    OutOfTime,
    PictureRequest,
    WorkersBusy,
)
from gateway.model import Instance, Target
from gateway.picture_limits import SMALL, in_proportion, no_larger_than_source, refusal, subject_of
from gateway.rules.retrieval import Fetch


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CannotDraw(NO_SUCH_FRAME), 404),
        (CannotDraw(OUTSIDE), 400),
        (CannotDraw("it holds no image"), 406),
        (DecoderLost("its decoder crashed"), 406),
        (OutOfTime("it took too long"), 503),
        (WorkersBusy("too much is being drawn"), 503),
    ],
    ids=["frame", "region", "no image", "crash", "late", "busy"],
)
def test_a_caller_is_told_whether_another_try_is_worth_it(error: CannotDraw, status: int) -> None:
    told = refusal(error)

    assert told.status == status
    assert (told.retry_after_seconds is not None) == (status == 503)


def test_objects_of_one_study_share_its_turns_and_no_more() -> None:
    targets = [Target(study_uid="1", series_uid="2", instance_uid=uid) for uid in ("3", "4")]
    one, other = (subject_of(Fetch(target=t, archives=("a",)), SMALL) for t in targets)

    assert one.study == other.study
    assert one.object != other.object
    assert one.cpu_seconds == SMALL.cpu_seconds
    assert subject_of(Fetch(target=targets[0], archives=("b",))).object != one.object


@pytest.mark.parametrize(
    ("instance", "box", "size"),
    [
        (Instance(uid="1", rows=64, columns=96), (96, 64), (96, 64)),
        (Instance(uid="1", rows=640, columns=96), (96, 300), (45, 300)),
        (Instance(uid="1", rows=121, columns=163), (163, 121), (163, 121)),
        (Instance(uid="1", rows=1210, columns=1630), (300, 300), (300, 223)),
        (Instance(uid="1", rows=2000, columns=1), (1, 300), (1, 300)),
        (Instance(uid="1"), (256, 256), (256, 256)),
    ],
)
def test_an_archive_is_asked_for_no_more_than_its_source_in_its_proportion(
    instance: Instance, box: tuple[int, int], size: tuple[int, int]
) -> None:
    request = PictureRequest(width=300, height=300)
    found = no_larger_than_source(instance, request)
    assert (found.width, found.height) == box
    assert in_proportion(instance, request) == size
