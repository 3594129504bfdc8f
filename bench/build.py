"""QIDO bytes of many instances to those of an ImagingStudy: our way, dicts, fhir.resources.

Run: python -m bench.build [instances], or `make bench`. Each way in a process of its own that has
imported what it needs; CPU time of several runs that start without garbage and pay for their own,
the ways in turn. Medians of the rounds and of the ratios within a round: compare the ratios, the
milliseconds are this machine's. "ours, kept" does what the gateway does besides: it encodes the
records for the cache and gives the resource a version.

The rows have the attributes, the values' lengths and the layout of those that Orthanc 1.10.1 gives
of a CT: 22 attributes, 1.9 KB. Once more without white space, as other archives write.
"""

from __future__ import annotations

import gc
import multiprocessing
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any

import msgspec
import orjson

from bench.ground.sums import Result, tell
from gateway.model import Contents, Instance, Origin
from gateway.rules import dicom_json as dj
from gateway.rules import fhir_results, fhir_subsets, instance_rows, merging, records
from gateway.rules.endpoints import Carried
from gateway.rules.fhir_versions import VERSIONS
from gateway.rules.imaging_study import imaging_study

ROUNDS = 9
RUNS = 5
SERIES = 4
CT = "1.2.840.10008.5.1.4.1.1.2"
_random = random.Random(7)  # noqa: S311 - nobody is to guess it


def new_uid() -> str:
    """A UID as long as toolkits make them."""
    return f"1.2.826.0.1.3680043.8.498.{_random.randrange(10**37, 10**38)}"


STUDY = new_uid()
SERIES_UIDS = [new_uid() for _ in range(SERIES)]


def row(number: int) -> dict[str, Any]:
    """An instance row as Orthanc sends it: with the study's and the series' attributes."""
    series, uid = SERIES_UIDS[number % SERIES], new_uid()
    path = f"studies/{STUDY}/series/{series}/instances/{uid}"
    values: dict[str, tuple[str, Any]] = {
        dj.SPECIFIC_CHARACTER_SET: ("CS", "ISO_IR 100"),
        dj.SOP_CLASS_UID: ("UI", CT),
        dj.SOP_INSTANCE_UID: ("UI", uid),
        dj.STUDY_DATE: ("DA", "20040119"),
        dj.STUDY_TIME: ("TM", "072730"),
        dj.ACCESSION_NUMBER: ("SH", None),
        dj.MODALITY: ("CS", "CT"),
        dj.REFERRING_PHYSICIAN_NAME: ("PN", None),
        dj.TIMEZONE_OFFSET: ("SH", "-0500"),
        dj.RETRIEVE_URL: ("UR", f"http://127.0.0.1:50393/dicom-web/{path}"),
        dj.PATIENT_NAME: ("PN", {"Alphabetic": "CompressedSamples^CT1"}),
        dj.PATIENT_ID: ("LO", "1CT1"),
        dj.PATIENT_BIRTH_DATE: ("DA", None),
        dj.PATIENT_SEX: ("CS", "O"),
        dj.STUDY_INSTANCE_UID: ("UI", STUDY),
        dj.SERIES_INSTANCE_UID: ("UI", series),
        dj.STUDY_ID: ("SH", "1CT1"),
        dj.SERIES_NUMBER: ("IS", number % SERIES),
        dj.INSTANCE_NUMBER: ("IS", number),
        dj.ROWS: ("US", 128),
        dj.COLUMNS: ("US", 128),
        dj.BITS_ALLOCATED: ("US", 16),
    }
    return {
        tag: {"vr": vr} if value is None else {"Value": [value], "vr": vr}
        for tag, (vr, value) in values.items()
    }


def styled(value: Any, indent: str = "\n") -> str:
    """JSON as Orthanc lays it out: a line and its tabs for everything."""
    within = indent + "\t"
    if isinstance(value, dict):
        shown = (f'{within}"{k}" : {_below(v, within)}' for k, v in value.items())
        return "{" + ",".join(shown) + indent + "}"
    if isinstance(value, list):
        shown = (within + styled(v, within) for v in value)
        return "[" + ",".join(shown) + indent + "]"
    return orjson.dumps(value).decode()


def _below(value: Any, indent: str) -> str:
    return (indent if isinstance(value, dict | list) else "") + styled(value, indent)


def as_orthanc(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows in one answer of Orthanc's."""
    return ("[" + "\n,".join(styled(r) for r in rows) + "\n]\n").encode()


def ours(body: bytes) -> bytes:
    """The way that the gateway goes."""
    return orjson.dumps(resource(instances(body)))


def ours_kept(body: bytes) -> bytes:
    """The same, with what the gateway does besides."""
    found = instances(body)
    msgspec.msgpack.encode(found)
    wanted = fhir_results.Wanted()
    return orjson.dumps(fhir_subsets.served(resource(found), wanted, VERSIONS["r5"].number))


def instances(body: bytes) -> dict[str, tuple[Instance, ...]]:
    """The records of the rows."""
    reading = instance_rows.Reading(STUDY)
    reading.add(body)
    return reading.instances()


def resource(found: dict[str, tuple[Instance, ...]]) -> dict[str, Any]:
    """The ImagingStudy of instances, with the study and its series from rows of their own."""
    series = [
        {
            dj.SERIES_INSTANCE_UID: {"vr": "UI", "Value": [uid]},
            dj.MODALITY: {"vr": "CS", "Value": ["CT"]},
        }
        for uid in SERIES_UIDS
    ]
    study = records.study(
        Origin(archive="north"), {dj.STUDY_INSTANCE_UID: {"vr": "UI", "Value": [STUDY]}}, series
    )
    if study is None:
        raise ValueError("no study")
    whole = merging.with_instances(study, Contents(instances=found))
    return imaging_study(whole, VERSIONS["r5"].shape, Carried(study=(), series={}))


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
    from fhir.resources.imagingstudy import ImagingStudy

    return ImagingStudy.model_validate(as_dicts(body)).model_dump_json().encode()


WAYS: Mapping[str, Callable[[bytes], bytes]] = {
    "ours": ours,
    "ours, kept": ours_kept,
    "orjson + dicts": plain,
    "fhir.resources": modelled,
}


def cpu_ms(way: str, body: bytes) -> float:
    """CPU milliseconds of a run, the mean of several."""
    gc.collect()
    started = time.process_time()
    for _ in range(RUNS):
        WAYS[way](body)
    return (time.process_time() - started) * 1000 / RUNS


def said_of_instances(written: bytes) -> list[tuple[str, str, int]]:
    """What a resource says of its instances, to be compared."""
    found = (i for s in orjson.loads(written)["series"] for i in s["instance"])
    return sorted((i["uid"], i["sopClass"]["code"], i["number"]) for i in found)


def heap_peak(body: bytes) -> int:
    """The most bytes that Python holds at once during our way, `body` aside."""
    ours(body)
    tracemalloc.start()
    ours(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def report(name: str, body: bytes, processes: Mapping[str, Executor]) -> None:
    """Measures all ways over one body, and prints its table."""
    said = [said_of_instances(p.submit(WAYS[w], body).result()) for w, p in processes.items()]
    if any(one != said[0] for one in said):
        raise SystemExit("the ways do not say the same")
    rounds = [
        {way: process.submit(cpu_ms, way, body).result() for way, process in processes.items()}
        for _ in range(ROUNDS + 1)
    ][1:]
    write = sys.stdout.write
    write(f"{name}: {len(body) / 1e6:.2f} MB, {ROUNDS} rounds of {RUNS} runs\n")
    for way in processes:
        median = statistics.median(r[way] for r in rounds)
        write(f"  {way:16} {median:7.1f} ms")
        for mine in ("ours", "ours, kept"):
            ratio = statistics.median(r[mine] / r[way] for r in rounds)
            write("" if way.startswith("ours") else f"   {mine}: {ratio:.3f} (1/{1 / ratio:.1f})")
        write("\n")
    for way, floor, goal in (("orjson + dicts", 0.5, 0.35), ("fhir.resources", 1 / 15, 1 / 25)):
        times = statistics.median(r["ours"] / r[way] for r in rounds)
        what = f"ImagingStudy from {name}: CPU"
        tell(Result(what=what, of=way, ratio=times, floor=floor, goal=goal))
    peak = heap_peak(body) / len(body)
    tell(
        Result(
            what=f"ImagingStudy from {name}: memory", of="the rows", ratio=peak, floor=3, goal=1.5
        )
    )


def main() -> None:
    """Prints the tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rows = [row(n) for n in range(count)]
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        processes = {
            way: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for way in WAYS
        }
        report(f"{count:,} rows as of Orthanc", as_orthanc(rows), processes)
        report(f"{count:,} rows in a line", orjson.dumps(rows), processes)


if __name__ == "__main__":
    main()
