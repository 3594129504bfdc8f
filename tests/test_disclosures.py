from __future__ import annotations

from dataclasses import replace

from gateway import disclosures
from gateway.disclosures import CURRENT, Disclosures
from gateway.model import Identifier, Patient, Study
from gateway.rules import audit_event
from gateway.rules.audit_event import Access

ONE = Study(uid="1.1", archives=(), patient=Patient(id=Identifier(value="A")))
TWO = Study(uid="1.2", archives=())
ACCESS = Access(
    recorded="2026-01-02T03:04:05.678Z",
    request_id="abcdefgh",
    consumer="hie",
    user=None,
    address=None,
    server="gw",
    asked="/",
    is_query=False,
)


def test_what_is_told_and_denied_is_noted_for_the_request() -> None:
    noted = Disclosures()
    token = CURRENT.set(noted)
    disclosures.shown(ONE)
    disclosures.shown(TWO)
    disclosures.denied(TWO)
    disclosures.told({"1.1"})
    CURRENT.reset(token)
    assert noted.shown == {"1.1": Identifier(value="A")}
    assert noted.denied == {"1.2": None}


def test_patients_who_were_only_looked_at_are_not_told_of() -> None:
    noted = Disclosures()
    token = CURRENT.set(noted)
    disclosures.shown(ONE)
    disclosures.shown(TWO)
    disclosures.told_of(lambda who: who is not None and who.value == "A")
    CURRENT.reset(token)
    assert set(noted.shown) == {"1.1"}


def test_outside_of_requests_nothing_is_noted() -> None:
    disclosures.shown(ONE)
    disclosures.denied(ONE)
    disclosures.told(())
    disclosures.told_of(lambda who: True)
    assert CURRENT.get() is None


def test_of_a_study_of_several_patients_all_are_noted_and_recorded() -> None:
    both = (Identifier(value="A"), Identifier(value="B"))
    before, noted = Disclosures(), Disclosures()
    token = CURRENT.set(before)
    disclosures.shown(replace(ONE, is_of_several_patients=True, patient_ids=both))
    copy = disclosures.copied()
    CURRENT.set(noted)
    disclosures.repeat(copy)
    CURRENT.reset(token)
    assert noted.several == {"1.1": both}
    found = audit_event.events(ACCESS, noted.shown, noted.several)
    assert [e["entity"][-1]["what"]["identifier"]["value"] for e in found] == ["A", "B"]
