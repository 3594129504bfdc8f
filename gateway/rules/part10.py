"""The File Meta Information at the head of a DICOM file (PS3.10 §7.1), out of its first bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gateway.rules.dicom_json import is_uid

_PREAMBLE_BYTES = 128
HEAD_BYTES = 1024
"""How much of a file is sure to hold the elements read here, in files that follow PS3.10."""
_LONG_VRS = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR", b"OF", b"OD", b"OL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMeta:
    """What tells one object from another; None where the head does not hold it, or no UID."""

    instance_uid: str | None = None
    transfer_syntax: str | None = None


def file_meta(head: bytes) -> FileMeta | None:
    """The meta group of a file that begins with `head`; None when it is not a DICOM file."""
    if head[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] != b"DICM":
        return None
    found: dict[int, str] = {}
    at = _PREAMBLE_BYTES + 4
    while at + 8 <= len(head):
        group, element = struct.unpack_from("<HH", head, at)
        if group != 0x0002:
            break
        long_form = head[at + 4 : at + 6] in _LONG_VRS
        if long_form and at + 12 > len(head):
            break
        (size,) = struct.unpack_from(
            "<I" if long_form else "<H", head, at + (8 if long_form else 6)
        )
        start = at + (12 if long_form else 8)
        if element in {0x0003, 0x0010} and start + size <= len(head):
            text = head[start : start + size].decode("ascii", "replace").strip(" \0")
            if is_uid(text):  # it goes into headers
                found[element] = text
        at = start + size
    return FileMeta(instance_uid=found.get(0x0003), transfer_syntax=found.get(0x0010))
