from __future__ import annotations

from gateway.model import Consumer, Study
from gateway.rules import policy
from tests.rules.rows import row

ANYONE = Consumer(id="anyone")


def test_everything_exists_for_who_is_let_in() -> None:
    study = Study(uid="1.2", archives=("north",))
    assert policy.visible(ANYONE, study) == study
    assert policy.visible_rows(ANYONE, [row(STUDY_ID="1")]) == [row(STUDY_ID="1")]
