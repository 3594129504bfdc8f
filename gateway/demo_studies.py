"""Who and what the demonstration shows: invented patients, their studies and series, as tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """An invented person, and the character set that their objects are written in."""

    name: str
    id: str
    sex: str
    birth_date: str
    charset: str | list[str] | None
    issuer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Series `number`: `count` copies of the file `source`; or of what `demo_objects` makes."""

    number: int
    source: str
    modality: str
    description: str
    count: int = 1
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study; empty text is written as an empty attribute, None not at all."""

    number: int
    patient: Patient
    date: str
    time: str
    description: str
    series: tuple[Series, ...]
    accession: str = ""
    referring: str = ""
    institution: str = "Riverside General Hospital"
    performing: str = ""
    operators: str = ""
    zone: str | None = None
    body_part: str | None = None
    procedure: tuple[str, str, str] | None = None


_YAMADA = Patient(
    name="Yamada^Tarou=山田^太郎=やまだ^たろう",
    id="JP-0417",
    issuer="HOSP-A",
    sex="M",
    birth_date="19610308",
    charset=["", "ISO 2022 IR 87"],
)
_MUELLER = Patient(
    name="Müller^Jürgen",
    id="100482",
    issuer="HOSP-A",
    sex="M",
    birth_date="19740519",
    charset="ISO_IR 100",
)
_OBRIEN = Patient(
    name="O'Brien^Siobhan^Mary", id="US/5 5", sex="F", birth_date="19880131", charset="ISO_IR 100"
)
_NGUYEN = Patient(
    name="Nguyễn^Thị Lan",
    id="RT-20931",
    issuer="HOSP-B",
    sex="F",
    birth_date="19551224",
    charset="ISO_IR 192",
)
_OKAFOR = Patient(name="Okafor^Chidi", id="70011", sex="M", birth_date="19930702", charset=None)
_LINDQVIST = Patient(
    name="Lindqvist^Åsa", id="LQ-8", sex="F", birth_date="19791115", charset="ISO_IR 192"
)

STUDIES = (
    Study(
        number=1,
        patient=_YAMADA,
        date="20240312",
        time="091405",
        zone="+0900",
        description="CT Abdomen with contrast",
        accession="A24-10001",
        referring="Sato^Keiko",
        performing="Tanaka^Hiroshi",
        operators="Ito^Yui",
        body_part="ABDOMEN",
        procedure=("24613-6", "LN", "CT Abdomen W contrast IV"),
        series=(
            Series(number=1, source="CT_small", modality="CT", description="Topogram"),
            Series(number=2, source="CT_small", modality="CT", description="Axial 5.0", count=5),
            Series(number=3, source="CT_small", modality="CT", description="Axial 1.0", count=8),
            Series(number=90, source="segmentation", modality="SEG", description="Liver"),
            Series(number=91, source="report", modality="SR", description="Findings"),
            Series(number=92, source="key_images", modality="KO", description="Key images"),
            Series(number=93, source="document", modality="DOC", description="Report as PDF"),
        ),
    ),
    Study(
        number=2,
        patient=_YAMADA,
        date="20240918",
        time="1630",
        zone="+0900",
        description="CT Head without contrast",
        accession="A24-10977",
        referring="Sato^Keiko",
        body_part="HEAD",
        series=(
            Series(number=1, source="J2K_pixelrep_mismatch", modality="CT", description="Brain"),
            Series(number=2, source="693_J2KI", modality="CT", description="Bone"),
        ),
    ),
    Study(
        number=3,
        patient=_MUELLER,
        date="20231102",
        time="104512.250",
        zone="+0100",
        description="MR Knee right",
        accession="A23-88120",
        referring="Weiß^Anna",
        performing="Schäfer^Jörg",
        operators="Krüger^Uwe",
        body_part="KNEE",
        procedure=("36801-7", "LN", "MR Knee - right WO contrast"),
        series=tuple(
            Series(
                number=number,
                source=source,
                modality="MR",
                description=description,
                count=count,
                more={"Laterality": "R"},
            )
            for number, source, description, count in (
                (1, "MR_small", "PD sagittal", 4),
                (2, "MR_small_implicit", "T1 coronal", 3),
                (3, "MR_small_bigendian", "T2 axial", 2),
                (4, "MR_small_RLE", "T2 star", 1),
                (5, "MR_small_jp2klossless", "PD fat saturated", 1),
                (6, "MR_small_jpeg_ls_lossless", "T1 fat saturated", 1),
            )
        ),
    ),
    Study(
        number=4,
        patient=_MUELLER,
        date="20240115",
        time="083000",
        zone="+0100",
        description="Echocardiography",
        accession="A24-00312",
        referring="Weiß^Anna",
        body_part="HEART",
        series=(
            Series(number=1, source="examples_ybr_color", modality="US", description="PLAX loop"),
            Series(
                number=2, source="examples_rgb_color", modality="US", description="Colour still"
            ),
            Series(number=3, source="examples_jpeg2k", modality="US", description="Apical still"),
        ),
    ),
    Study(
        number=5,
        patient=_OBRIEN,
        date="20220630",
        time="141500",
        description="US Pelvis",
        accession="A22-45001",
        referring="Byrne^Niamh",
        institution="St Brigid's Clinic",
        body_part="PELVIS",
        series=(
            Series(number=1, source="examples_palette", modality="US", description="Power Doppler"),
        ),
    ),
    Study(
        number=6,
        patient=_NGUYEN,
        date="20240521",
        time="110000",
        zone="+0200",
        description="Radiotherapy planning",
        accession="A24-20931",
        referring="Moreau^Hélène",
        performing="Petit^Luc",
        institution="Institut du Lac",
        body_part="ABDOMEN",
        series=(
            Series(number=1, source="CT_small", modality="CT", description="Planning CT", count=6),
            Series(number=2, source="rtstruct", modality="RTSTRUCT", description="Contours"),
            Series(number=3, source="rtplan", modality="RTPLAN", description="Plan 1"),
            Series(number=4, source="rtdose", modality="RTDOSE", description="Dose of plan 1"),
        ),
    ),
    Study(
        number=7,
        patient=_OKAFOR,
        date="20240229",
        time="235959",
        description="12-lead ECG",
        referring="Adeyemi^Ngozi",
        institution="St Brigid's Clinic",
        series=(Series(number=1, source="waveform_ecg", modality="ECG", description="Rest"),),
    ),
    Study(
        number=8,
        patient=_LINDQVIST,
        date="20210407",
        time="132210",
        description="MR Abdomen",
        accession="A21-30077",
        referring="Åkesson^Björn",
        body_part="ABDOMEN",
        series=(Series(number=1, source="examples_overlay", modality="MR", description="TRUFI"),),
    ),
    Study(
        number=9,
        patient=_LINDQVIST,
        date="20200101",
        time="",
        description="",
        institution="",
        series=(
            Series(number=1, source="JPEG2000", modality="NM", description="Whole body"),
            Series(
                number=2, source="SC_rgb_jpeg_dcmtk", modality="OT", description="Pasted colours"
            ),
            Series(number=3, source="image_dfl", modality="OT", description="Deflated capture"),
        ),
    ),
)
