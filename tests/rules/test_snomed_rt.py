from __future__ import annotations

from gateway.rules.body_sites import BODY_PARTS, LATERALITIES
from gateway.rules.snomed_rt import SNOMED_CT_OF


def test_old_codes_lead_to_what_annex_l_and_cid_244_name() -> None:
    known = {code for code, _ in BODY_PARTS.values()} | {c.value for c in LATERALITIES.values()}
    assert set(SNOMED_CT_OF.values()) <= known
    assert SNOMED_CT_OF["T-D4000"] == BODY_PARTS["ABDOMEN"][0]
