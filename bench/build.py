"""QIDO bytes of many instances to those of an ImagingStudy: our way, dicts, fhir.resources.

Run: .venv/bin/python bench/build.py [instances]. Side by side in one process, CPU time, median of
the rounds; the ratios are what to compare, the milliseconds are this machine's.
"""

from __future__ import annotations

import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from fhir.resources.imagingstudy import ImagingStudy

from gateway.model import Origin
from gateway.rules import dicom_json as dj
from gateway.rules import instance_rows, merging, records
from gateway.rules.endpoints import Carried
from gateway.rules.fhir_versions import VERSIONS
from gateway.rules.imaging_study import imaging_study

ROUNDS = 7
STUDY = "1.2.826.0.1.3680043.8.498.42.1234567890123456789"
SERIES = 4
CT = "1.2.840.10008.5.1.4.1.1.2"


def row(number: int) -> dict[str, Any]:
    """An instance row as archives send it, with the study's and the series' attributes."""
    series = f"{STUDY}.{number % SERIES}"
    uid = f"{series}.{number}"
    values: dict[str, tuple[str, Any]] = {
        dj.SPECIFIC_CHARACTER_SET: ("CS", "ISO_IR 192"),
        dj.SOP_CLASS_UID: ("UI", CT),
        dj.SOP_INSTANCE_UID: ("UI", uid),
        dj.STUDY_DATE: ("DA", "20240312"),
        dj.STUDY_TIME: ("TM", "091405"),
        dj.ACCESSION_NUMBER: ("SH", "A24-10001"),
        dj.MODALITY: ("CS", "CT"),
        dj.REFERRING_PHYSICIAN_NAME: ("PN", {"Alphabetic": "Sato^Keiko"}),
        dj.RETRIEVE_URL: ("UR", f"http://pacs/studies/{STUDY}/series/{series}/instances/{uid}"),
        dj.PATIENT_NAME: ("PN", {"Alphabetic": "Yamada^Tarou"}),
        dj.PATIENT_ID: ("LO", "JP-0417"),
        dj.STUDY_INSTANCE_UID: ("UI", STUDY),
        dj.SERIES_INSTANCE_UID: ("UI", series),
        dj.SERIES_NUMBER: ("IS", number % SERIES),
        dj.INSTANCE_NUMBER: ("IS", number),
        dj.ROWS: ("US", 512),
        dj.COLUMNS: ("US", 512),
        dj.BITS_ALLOCATED: ("US", 16),
    }
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}


def ours(body: bytes) -> bytes:
    """The way that the gateway goes."""
    series = [
        {
            dj.SERIES_INSTANCE_UID: {"vr": "UI", "Value": [f"{STUDY}.{n}"]},
            dj.MODALITY: {"vr": "CS", "Value": ["CT"]},
        }
        for n in range(SERIES)
    ]
    study = records.study(
        Origin(archive="north"), {dj.STUDY_INSTANCE_UID: {"vr": "UI", "Value": [STUDY]}}, series
    )
    if study is None:
        raise ValueError("no study")
    reading = instance_rows.Reading(STUDY)
    reading.add(body)
    whole = merging.with_instances(study, reading.instances())
    carried = Carried(study=(), series={})
    return orjson.dumps(imaging_study(whole, VERSIONS["r5"].shape, carried))


def as_dicts(body: bytes) -> dict[str, Any]:
    """What a straightforward mapping over decoded JSON makes of the same rows."""
    series: dict[str, dict[str, Any]] = {}
    for found in orjson.loads(body):
        uid = found[dj.SERIES_INSTANCE_UID]["Value"][0]
        modality = {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM"}]}
        modality["coding"][0]["code"] = found[dj.MODALITY]["Value"][0]
        one = series.setdefault(uid, {"uid": uid, "modality": modality, "instance": []})
        sop_class = f"urn:oid:{found[dj.SOP_CLASS_UID]['Value'][0]}"
        one["instance"].append(
            {
                "uid": found[dj.SOP_INSTANCE_UID]["Value"][0],
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": sop_class},
                "number": found[dj.INSTANCE_NUMBER]["Value"][0],
            }
        )
    for one in series.values():
        one["numberOfInstances"] = len(one["instance"])
        one["instance"].sort(key=lambda i: i["number"])
    return {
        "resourceType": "ImagingStudy",
        "id": STUDY,
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}],
        "status": "available",
        "subject": {"display": "Tarou Yamada"},
        "series": list(series.values()),
    }


def plain(body: bytes) -> bytes:
    """By orjson and dicts."""
    return orjson.dumps(as_dicts(body))


def modelled(body: bytes) -> bytes:
    """By orjson, dicts and fhir.resources."""
    return ImagingStudy.model_validate(as_dicts(body)).model_dump_json().encode()


def cpu_ms(work: Callable[[bytes], bytes], body: bytes) -> float:
    """CPU milliseconds of one run."""
    started = time.process_time()
    work(body)
    return (time.process_time() - started) * 1000


def main() -> None:
    """Prints the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    body = orjson.dumps([row(n) for n in range(count)])
    ways: Mapping[str, Callable[[bytes], bytes]] = {
        "ours": ours,
        "orjson + dicts": plain,
        "fhir.resources": modelled,
    }
    for work in ways.values():
        work(body)
    rounds = [{name: cpu_ms(work, body) for name, work in ways.items()} for _ in range(ROUNDS)]
    tracemalloc.start()
    ours(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    write = sys.stdout.write
    write(f"{count} instances, {len(body) / 1e6:.2f} MB of QIDO rows, {ROUNDS} rounds\n")
    for name in ways:
        median = statistics.median(r[name] for r in rounds)
        ratio = statistics.median(r["ours"] / r[name] for r in rounds)
        write(f"{name:16} {median:8.1f} ms   ours is {ratio:.3f} of it\n")
    write(f"heap peak of ours: {peak / len(body):.2f} of the body\n")


if __name__ == "__main__":
    main()
