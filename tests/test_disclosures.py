from __future__ import annotations

from gateway import disclosures
from gateway.disclosures import CURRENT, Disclosures
from gateway.model import Identifier, Patient, Study

ONE = Study(uid="1.1", archives=(), patient=Patient(id=Identifier(value="A")))
TWO = Study(uid="1.2", archives=())


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
