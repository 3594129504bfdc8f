"""The studies that rows of a search tell of, each with its patient, for the audit trail."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import disclosures
from gateway.archives import Archives
from gateway.counting import records_of
from gateway.model import Loaded, Study
from gateway.rules import dicom_json as dj
from gateway.rules import merging, records
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from gateway.searching import Searched


async def note(archives: Archives, found: Searched, shown: Sequence[Dataset], query: Query) -> None:
    """Notes what `shown`, of what was `found`, tells; where rows name no patient, records do."""
    uids = {dj.text(row, dj.STUDY_INSTANCE_UID) or query.study_uid or "" for row in shown}
    told = _told(found, query)
    unnamed = [uid for uid in uids if uid not in told or told[uid].patient.id is None]
    for uid, loaded in (await records_of(archives, unnamed, is_exact=False)).items():
        if isinstance(loaded, Loaded):
            told[uid] = loaded.study
    for uid in uids:
        disclosures.shown(told.get(uid) or Study(uid=uid, archives=()))


def _told(found: Searched, query: Query) -> dict[str, Study]:
    """The studies as rows tell them; of several patients, where archives do not agree."""
    studies: dict[str, Study] = {}
    of_path: Dataset = {dj.STUDY_INSTANCE_UID: {"vr": "UI", "Value": [query.study_uid]}}
    for archive, rows in found.answers:
        for row in rows:
            study = records.study(archive.origin, of_path | row)
            if study is None:
                continue
            known = studies.get(study.uid)
            studies[study.uid] = study if known is None else merging.merge((known, study))
    return studies
