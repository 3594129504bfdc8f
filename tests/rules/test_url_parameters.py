from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.model import ConnectionType
from gateway.rules import url_parameters
from gateway.rules.url_parameters import Resource

RS, URI, QIDO, IID = ConnectionType
DICOM, METADATA, RENDERED, THUMBNAIL = Resource


@pytest.mark.parametrize(
    ("service", "resource", "query"),
    [
        (RS, RENDERED, "viewport=512,512"),
        (RS, RENDERED, "viewport=512,512,,,512,512"),
        (RS, RENDERED, "viewport=512,512,0,0,-100.5,-3"),
        (RS, RENDERED, "viewport=1,1,0.5,.5,10,10"),
        (RS, RENDERED, "window=40,400,linear"),
        (RS, RENDERED, "window=-40.5,0.1,linear-exact"),
        (RS, RENDERED, "window=0,1,sigmoid"),
        (RS, RENDERED, "window=0,1,linear"),
        (RS, RENDERED, "quality=1"),
        (RS, RENDERED, "quality=100"),
        (RS, RENDERED, "annotation=patient"),
        (RS, RENDERED, "annotation=patient,technique"),
        (RS, RENDERED, "iccprofile=srgb"),
        (RS, RENDERED, "accept=image/jpeg"),
        (RS, RENDERED, "accept=image/jpeg;q=0.5, image/png"),
        (RS, RENDERED, "charset=utf-8"),
        (RS, DICOM, 'accept=multipart/related; type="application/dicom"'),
        (RS, METADATA, "accept=application/dicom+json"),
        (RS, THUMBNAIL, "viewport=64,64"),
        (URI, DICOM, "contentType=application/dicom"),
        (URI, DICOM, "anonymize=yes"),
        (URI, DICOM, "transferSyntax=1.2.840.10008.1.2.4.50"),
        (URI, RENDERED, "rows=1"),
        (URI, RENDERED, "contentType=image/png,image/jpeg"),
        (URI, RENDERED, "region=0,0,1,1"),
        (URI, RENDERED, "windowCenter=-3|windowWidth=1.5"),
        (URI, RENDERED, "imageQuality=80"),
        (URI, RENDERED, "frameNumber=3"),
        (URI, RENDERED, "presentationSeriesUID=1.2|presentationUID=1.3|rows=3"),
        (URI, RENDERED, "imageAnnotation=technique"),
        (IID, DICOM, "viewerType=IHE_BIR"),
        (IID, RENDERED, "diagnosticQuality=true|keyImagesOnly=false"),
    ],
)
def test_good_parameters_pass_as_they_are(
    service: ConnectionType, resource: Resource, query: str
) -> None:
    pairs = [(name, value) for name, _, value in (p.partition("=") for p in query.split("|"))]

    assert url_parameters.checked(service, resource, pairs) == pairs


@pytest.mark.parametrize(
    ("service", "resource", "query", "parameter"),
    [
        (RS, RENDERED, "viewport=512", "viewport"),
        (RS, RENDERED, "viewport=0,512", "viewport"),
        (RS, RENDERED, "viewport=-1,512", "viewport"),
        (RS, RENDERED, "viewport=1.5,512", "viewport"),
        (RS, RENDERED, "viewport=512,512,0,0", "viewport"),
        (RS, RENDERED, "viewport=512,512,0,0,0,0", "viewport"),
        (RS, RENDERED, "viewport=512,512,0,0,1,1,1", "viewport"),
        (RS, RENDERED, "viewport=512,512,a,0,1,1", "viewport"),
        (RS, RENDERED, "viewport=512,512,nan,0,1,inf", "viewport"),
        (RS, RENDERED, "viewport=512, 512", "viewport"),
        (RS, RENDERED, "viewport=٣,٣", "viewport"),
        (RS, RENDERED, "window=40,400", "window"),
        (RS, RENDERED, "window=40,0,linear", "window"),
        (RS, RENDERED, "window=40,0.9,linear", "window"),
        (RS, RENDERED, "window=40,-1,linear", "window"),
        (RS, RENDERED, "window=40,400,LINEAR", "window"),
        (RS, RENDERED, "window=,400,linear", "window"),
        (RS, RENDERED, "quality=0", "quality"),
        (RS, RENDERED, "quality=101", "quality"),
        (RS, RENDERED, "quality=5.5", "quality"),
        (RS, RENDERED, "annotation=", "annotation"),
        (RS, RENDERED, "annotation=patient,", "annotation"),
        (RS, RENDERED, "annotation=name", "annotation"),
        (RS, RENDERED, "iccprofile=cmyk", "iccprofile"),
        (RS, RENDERED, "accept=application/dicom", "accept"),
        (RS, RENDERED, "accept=image/jpeg, application/dicom+json", "accept"),
        (RS, RENDERED, "accept=jpeg", "accept"),
        (RS, RENDERED, "rows=1", "rows"),
        (RS, RENDERED, "quality=1|quality=1", "quality"),
        (RS, DICOM, "viewport=1,1", "viewport"),
        (RS, METADATA, "quality=1", "quality"),
        (RS, THUMBNAIL, "viewport=64,64,0,0,1,1", "viewport"),
        (RS, THUMBNAIL, "window=40,400,linear", "window"),
        (URI, DICOM, "contentType=image/jpeg", "contentType"),
        (URI, DICOM, "rows=1", "rows"),
        (URI, DICOM, "anonymize=no", "anonymize"),
        (URI, DICOM, "transferSyntax=x", "transferSyntax"),
        (URI, RENDERED, "contentType=application/dicom", "contentType"),
        (URI, RENDERED, "anonymize=yes", "anonymize"),
        (URI, RENDERED, "rows=0", "rows"),
        (URI, RENDERED, "region=0,0,1", "region"),
        (URI, RENDERED, "region=0.5,0,0.5,1", "region"),
        (URI, RENDERED, "region=0,0,1.1,1", "region"),
        (URI, RENDERED, "region=-0.1,0,1,1", "region"),
        (URI, RENDERED, "windowCenter=1", "windowWidth"),
        (URI, RENDERED, "windowWidth=1", "windowCenter"),
        (URI, RENDERED, "windowCenter=1|windowWidth=0", "windowWidth"),
        (URI, RENDERED, "presentationUID=1.2", "presentationSeriesUID"),
        (URI, RENDERED, "presentationSeriesUID=1|presentationUID=1|frameNumber=1", "frameNumber"),
        (
            URI,
            RENDERED,
            "presentationSeriesUID=1|presentationUID=1|windowCenter=1|windowWidth=1",
            "windowCenter",
        ),
        (URI, RENDERED, "annotation=patient|imageAnnotation=patient", "imageAnnotation"),
        (URI, THUMBNAIL, "rows=1", "rows"),
        (IID, DICOM, "diagnosticQuality=yes", "diagnosticQuality"),
        (IID, DICOM, "keyImagesOnly=", "keyImagesOnly"),
        (IID, DICOM, "viewerType=", "viewerType"),
        (IID, DICOM, "patientID=1", "patientID"),
        (QIDO, DICOM, "limit=1", "limit"),
    ],
)
def test_bad_parameters_are_refused_by_name(
    service: ConnectionType, resource: Resource, query: str, parameter: str
) -> None:
    pairs = [(name, value) for name, _, value in (p.partition("=") for p in query.split("|"))]

    with pytest.raises(BadRequest) as refused:
        url_parameters.checked(service, resource, pairs)

    assert refused.value.parameter == parameter


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("accept", "image/jpeg")], "accept=image%2Fjpeg"),
        ([("region", "0,0,0.5,1")], "region=0,0,0.5,1"),
        ([("viewerType", "My Viewer")], "viewerType=My%20Viewer"),
        ([("lowerDateTime", "08:00+02:00")], "lowerDateTime=08%3A00%2B02%3A00"),
        ([("patientID", "99998410^^^&1.2&ISO")], "patientID=99998410%5E%5E%5E%261.2%26ISO"),
        ([("b", "1"), ("a", "2")], "b=1&a=2"),
    ],
)
def test_values_are_encoded_and_commas_are_not(pairs: list[tuple[str, str]], expected: str) -> None:
    assert url_parameters.written(pairs) == expected


@given(
    service=st.sampled_from(list(ConnectionType)),
    resource=st.sampled_from(list(Resource)),
    name=st.sampled_from(
        ["viewport", "window", "quality", "accept", "region", "rows", "contentType", "viewerType"]
    ),
    value=st.text() | st.from_regex(r"[-0-9.,a-z/;=\"]{0,20}", fullmatch=True),
)
def test_any_value_is_passed_or_refused_by_name(
    service: ConnectionType, resource: Resource, name: str, value: str
) -> None:
    known = url_parameters.taken(service, resource)
    if name in known and known[name].is_good(value) and len(value) < 1000:
        assert url_parameters.checked(service, resource, [(name, value)])
    else:
        with pytest.raises(BadRequest, match=name):
            url_parameters.checked(service, resource, [(name, value)])
