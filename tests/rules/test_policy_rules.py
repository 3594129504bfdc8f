from __future__ import annotations

from datetime import date

import pytest
from pydantic import ValidationError

from gateway import config
from gateway.model import Identifier, Instance, Policy, Rule, Series, Study
from gateway.rules.policy_rules import NONE, compiled, decided

QUALITY, SAFETY = "113001", "113037"
QA = Policy(name="qa", allow=(Rule(name="allow[0]", rejections=(None, QUALITY)),))


def says(policy: Policy, *rejections: str, is_rejected: bool = True, knows: bool = True) -> str:
    """Why an instance that these notes refer to exists, or `not:` why it does not."""
    one = Instance(uid="1.2.3", rejections=rejections, is_rejected=is_rejected and bool(rejections))
    series = Series(uid="1.2", archives=("north",), modality="CT", instances=(one,))
    study = Study(uid="1", archives=("north",), series=(series,), knows_rejections=knows)
    is_visible, why = decided(policy, (study, series, "north", one))
    return why if is_visible else f"not: {why}"


def test_what_is_rejected_exists_for_those_whom_a_rule_allows_it() -> None:
    assert says(QA) == "policy qa, allow[0]"
    assert says(QA, QUALITY) == "policy qa, allow[0]"
    assert says(QA, SAFETY) == f"not: it is rejected ({SAFETY}), and no rule allows that"
    assert says(QA, QUALITY, SAFETY).startswith("not: it is rejected"), "one note is enough"
    assert says(NONE, QUALITY) == f"not: it is rejected ({QUALITY}), and no rule allows that"
    assert says(NONE) == "there is no policy"


def test_rules_that_name_no_note_allow_nothing_that_is_rejected() -> None:
    images = Policy(name="p", allow=(Rule(name="allow[0]", modalities=("CT",)),))
    assert says(images) == "policy p, allow[0]"
    assert says(images, QUALITY).startswith("not:")
    only_rejected = Policy(name="p", allow=(Rule(name="allow[0]", rejections=(QUALITY,)),))
    assert says(only_rejected, QUALITY) == "policy p, allow[0]"
    assert says(only_rejected) == "not: no rule of policy p allows it"


def test_rules_hide_what_an_archive_shows_in_spite_of_its_notes() -> None:
    hiding = Policy(name="p", hide=(Rule(name="hide[0]", rejections=(SAFETY,)),))
    assert says(hiding, QUALITY, SAFETY, is_rejected=False) == "not: policy p, hide[0]"
    assert says(hiding, QUALITY, is_rejected=False) == "no rule of policy p hides it"
    others = Policy(name="p", hide=(Rule(name="hide[0]", rejections=(None,)),), allow=QA.allow)
    assert says(others) == "not: policy p, hide[0]"
    assert says(others, QUALITY) == "policy p, allow[0]"


def test_notes_that_nobody_could_read_count_against_showing() -> None:
    hiding = Policy(name="p", hide=(Rule(name="hide[0]", rejections=(QUALITY,)),))
    for policy in (hiding, QA):
        assert says(policy, knows=False).startswith("not:")


def test_the_configuration_is_compiled() -> None:
    section = config.Policy.model_validate(
        {
            "partial": "deny",
            "hide": [{"modality": "SR", "patient": ["urn:oid:1|A|B", "C"]}],
            "allow": [{"study_date_from": "2020-01-01"}, {"rejection_note": ["none", 113001]}],
        }
    )

    made = compiled("p", section)

    assert made.denies_partial
    assert made.hide[0].modalities == ("SR",)
    assert made.hide[0].patients == (
        Identifier(value="B", system="urn:oid:1|A"),
        Identifier(value="C"),
    )
    assert made.allow[0].study_date_from == date(2020, 1, 1).isoformat()
    assert made.allow[1].rejections == (None, QUALITY)


@pytest.mark.parametrize("value", ["113000", 113002, True, None, {"113001": 1}, ["NONE"]])
def test_what_is_no_rejection_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        config.PolicyRule.model_validate({"rejection_note": value})
