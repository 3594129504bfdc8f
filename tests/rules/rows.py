"""DICOM JSON rows for tests: elements made short, and rows of all kinds made up by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.dicom_json import Dataset


def element(tag: str, *values: Any) -> dict[str, Any]:
    return {"vr": qido.vr_of(tag), "Value": list(values)}


def row(**values: Any) -> Dataset:
    """A row by the names of `dicom_json`: `row(STUDY_ID="1")`; a list is several values."""
    tags = {getattr(dj, name): value for name, value in values.items()}
    return {t: element(t, *(v if isinstance(v, list) else [v])) for t, v in tags.items()}


def name(alphabetic: str | None = None, **groups: str | None) -> dict[str, str | None]:
    return {"Alphabetic": alphabetic} | groups


scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**64), max_value=2**64)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "20240331", "20230230", "00000101", "023000", "24", "1030", "235960.5", "+0100",
            "-0000", "+1430", "1A", "A12", "2147483648", "CT", "1.2.3", "Doe^Jane", "^^^^", "  ",
        ]
    )
)  # fmt: skip

TAGS = sorted(
    v for k, v in vars(dj).items() if k[0].isalpha() and isinstance(v, str) and len(v) == 8
)

_odd = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*TAGS, "vr", "Value", "Alphabetic", "Ideographic", "BulkDataURI"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)

_elements = _odd | st.fixed_dictionaries(
    {"vr": st.sampled_from(["CS", "SQ", "PN", "DA"]), "Value": st.lists(_odd, max_size=3)}
)

odd_rows = st.dictionaries(st.sampled_from(TAGS), _elements, max_size=8)
"""What archives might send by mistake or in malice: always JSON, hardly ever DICOM JSON."""
