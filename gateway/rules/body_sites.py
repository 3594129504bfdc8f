"""Body Part Examined to SNOMED CT and back (PS3.16 Annex L), and laterality (CID 244)."""

from __future__ import annotations

from gateway.model import Code

BODY_PARTS = {
    "ABDOMEN": ("818981001", "Abdomen"),
    "ABDOMENPELVIS": ("818982008", "Abdomen and Pelvis"),
    "BRAIN": ("12738006", "Brain"),
    "BREAST": ("76752008", "Breast"),
    "CHEST": ("43799004", "Chest"),
    "CHESTABDOMEN": ("416550000", "Chest and Abdomen"),
    "CHESTABDPELVIS": ("416775004", "Chest, Abdomen and Pelvis"),
    "CSPINE": ("122494005", "Cervical spine"),
    "HAND": ("85562004", "Hand"),
    "HEAD": ("69536005", "Head"),
    "HEADNECK": ("774007", "Head and Neck"),
    "HEART": ("80891009", "Heart"),
    "KNEE": ("72696002", "Knee"),
    "NECK": ("45048000", "Neck"),
    "PELVIS": ("816092008", "Pelvis"),
    "SHOULDER": ("16982005", "Shoulder"),
    "SPINE": ("421060004", "Spine"),
    "WHOLEBODY": ("38266002", "Entire body"),
}
"""SNOMED CT code and meaning of each defined term of Body Part Examined (0018,0015)."""

LATERALITIES = {
    "R": Code(value="24028007", scheme="SCT", meaning="Right"),
    "L": Code(value="7771000", scheme="SCT", meaning="Left"),
    "B": Code(value="51440002", scheme="SCT", meaning="Bilateral"),
}
"""Codes of Laterality (0020,0060) and Image Laterality (0020,0062); unpaired (U) has none."""


def body_site(body_part: str | None) -> Code | None:
    """The code of a body part; a term that Annex L does not know keeps its words alone."""
    words = (body_part or "").upper().split()
    if not words:
        return None
    known = BODY_PARTS.get("".join(words))
    if known is None:
        return Code(meaning=" ".join(words))
    return Code(value=known[0], scheme="SCT", meaning=known[1])


def body_parts(value: str) -> tuple[str, ...]:
    """The defined terms that mean a SNOMED CT code, for a query by Body Part Examined."""
    return tuple(term for term, (sct, _) in BODY_PARTS.items() if sct == value)
