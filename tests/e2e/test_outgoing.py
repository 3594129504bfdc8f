"""Addresses that others make up, at every place where one could be followed: none is.

The interpreter itself tells which names are looked up and which addresses are connected to.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import jwt
import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.app import build_app
from gateway.config import Settings
from tests.fault_archive import Answer, FaultArchive, json_answer, redirect
from tests.issuer import AUDIENCE, RSA_KEY, Issuer, issuer, jwks
from tests.sockets import Sockets, listening
from tests.standing import Client

STUDY, SERIES, INSTANCE = "1.2.3", "1.2.3.4", "1.2.3.4.5"
PATH = f"/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}"
KEY = {"X-API-Key": "key"}
HOSTILE = (
    # machines that tell who asks what they are
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://169.254.170.2/v2/credentials", "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/", "http://[::ffff:a9fe:a9fe]/", "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/", "http://100.100.100.200/latest/meta-data/", "http://168.63.129.16/",
    "http://192.0.0.192/opc/v2/instance/", "http://metadata.google.internal/computeMetadata/v1/",
    "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/", "http://169.254.43518/",
    # this machine, and others behind the same wall
    "http://127.0.0.1:1/", "http://localhost:1/", "http://127.1:1/", "http://0.0.0.0:1/",
    "http://[::1]:1/", "http://[::]:1/", "http://0:1/", "http://2130706433:1/", "http://10.0.0.1/",
    "http://192.168.0.1/admin", "http://redis:6379/", "https://kubernetes.default.svc/api/v1/secrets",
    # other hosts
    "https://evil.example.org/", "//evil.example.org/", "https://evil.example.org@127.0.0.1:1/",
    "http://127.0.0.1:1@evil.example.org/", "http://evil.example.org\\@127.0.0.1:1/",
    "http://evil。example。org/", "http://127.0.0.1:1#@evil.example.org/",
    # other languages
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL", "ftp://evil.example.org/",
    "data:text/plain,x", "unix:///var/run/docker.sock", "javascript:alert(1)", "ldap://127.0.0.1:1/",
    # the archive's own machine, outside of what is configured
    "{server}/system", "{server}/dicom-web/../system", "{server}/dicom-web/%2e%2e/system",
    "{server}/dicom-webs/studies", "{server}/fhirs/ImagingStudy", "/system", "../../../../../../x",
    "http://127.0.0.1:1\r\nHost: evil.example.org/", "http://[", "",
)  # fmt: skip


class World:
    """A gateway whose servers say whatever they are told to say, all below one address."""

    def __init__(self, client: Client, server: FaultArchive, authority: Issuer) -> None:
        self.client = client
        self.server = server
        self.authority = authority

    @property
    def own(self) -> set[tuple[str, int]]:
        """The addresses that may be connected to: the servers', and the gateway by its client."""
        urls = (self.server.url, self.authority.url, str(self.client.make_url("/")))
        return {("127.0.0.1", urlsplit(url).port or 0) for url in urls}

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        answer = await self.client.get(path, headers=headers or KEY, allow_redirects=False)
        try:
            return answer.status, (await answer.read()).decode(errors="replace")
        except Exception as error:
            return answer.status, type(error).__name__


def configured(url: str, authority: Issuer, folder: Path) -> dict[str, Any]:
    keys = folder / "keys.json"
    keys.write_text(json.dumps(jwks()))
    oauth = {"type": "oauth2", "client_id": "g", "client_secret": "s", "token_url": f"{url}/token"}
    web_rs, trusted = f"{url}/dicom-web", {"issuer": "i", "audience": AUDIENCE, "policy": "all"}
    return {
        "archives": {
            "north": {"type": "dicomweb", "qido_rs": web_rs, "patient_system": "urn:oid:2.999.1"},
            "vault": {
                "type": "dicomweb",
                "qido_rs": None,
                "wado_rs": f"{url}/vault",
                "auth": oauth,
            },
        },
        "fhir": {
            "patients": {"by": "server"},
            "servers": {
                "ehr": {"url": f"{url}/fhir", "archive": "vault"},
                "mpi": {"url": f"{url}/mpi", "use": ["patients"]},
            },
        },
        "viewers": {
            "v": {"type": "template", "title": "V", "url": "https://v.example.org/{study_uid}"}
        },
        "auth": {
            "mode": "required",
            "api_keys": {"k": {"key": "key"}},
            "issuers": [
                trusted | {"jwks_file": str(keys), "fhir_server": "mpi"},
                trusted | {"issuer": "away", "jwks_url": f"{url}/keys"},
                trusted
                | {"issuer": "opaque", "introspection_url": f"{url}/introspect"}
                | {"client_id": "g", "client_secret": "s"},
            ],
        },
        "policies": {"all": {}},
    }


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """A new one, whose gateway remembers nothing and has given up on nobody."""
    async with issuer() as authority, FaultArchive() as server:
        settings = Settings.model_validate(configured(server.url, authority, folder))
        async with TestClient(TestServer(build_app(settings))) as client:
            yield World(client, server, authority)


def row(url: str) -> dict[str, Any]:
    texts = {"0020000D": STUDY, "0020000E": SERIES, "00080018": INSTANCE, "00100020": "P1",
             "00080016": "1.2.840.10008.5.1.4.1.1.2"}  # fmt: skip
    found: dict[str, Any] = {tag: {"vr": "UI", "Value": [value]} for tag, value in texts.items()}
    found["00080060"] = {"vr": "CS", "Value": ["CT"]}
    for tag in ("00081190", "0040E010", "00287FE0"):
        found[tag] = {"vr": "UR", "Value": [url]}
    found["7FE00010"] = {"vr": "OW", "BulkDataURI": url}
    return found


def holds(world: World, url: str) -> None:
    """The archive has a study; each of its addresses is this one."""
    for path in ("studies", f"studies/{STUDY}/series", f"studies/{STUDY}/instances", "instances"):
        world.server.on(f"/dicom-web/{path}", json_answer([row(url)]))
    for path in (f"/studies/{STUDY}", f"/studies/{STUDY}/series/{SERIES}", PATH):
        world.server.on(f"/dicom-web{path}/metadata", json_answer([row(url)]))


def bearer(header: dict[str, Any] | None = None, **claims: Any) -> dict[str, str]:
    said = Issuer().claims(**{"iss": "i", **claims})
    headers = {"kid": "r", **(header or {})}
    return {"Authorization": f"Bearer {jwt.encode(said, RSA_KEY, 'RS256', headers=headers)}"}


async def retrieve_url(world: World, url: str) -> None:
    holds(world, url)
    for path in (
        "/studies",
        f"/studies/{STUDY}/series",
        f"/studies/{STUDY}",
        PATH,
        f"{PATH}/metadata",
    ):
        await world.get(f"/dicom-web{path}")
    await world.get(f"/fhir/r4/ImagingStudy/{STUDY}")


async def bulk_data_uri(world: World, url: str) -> None:
    holds(world, url)
    for path in ("/bulkdata/7FE00010", "/frames/1", "/rendered", "/thumbnail", "/metadata"):
        await world.get(f"/dicom-web{PATH}{path}")


async def redirect_of_an_archive(world: World, url: str) -> None:
    away = Answer(status=302, headers={"Location": quote(url, safe=":/?#[]@!$&'()*+,;=%\\")})
    holds(world, "x")
    for path in (PATH, f"{PATH}/frames/1", f"{PATH}/rendered", f"{PATH}/thumbnail"):
        world.server.on(f"/dicom-web{path}", away)
        await world.get(f"/dicom-web{path}")
    world.server.on("/dicom-web/studies", away)
    await world.get("/dicom-web/studies")


def imaging_study(url: str) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": "s",
        "status": "available",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}],
        "subject": {"reference": url},
        "contained": [
            {
                "resourceType": "Endpoint",
                "id": "e",
                "status": "active",
                "connectionType": {"code": "dicom-wado-rs"},
                "address": url,
            }
        ],
        "endpoint": [{"reference": "#e"}, {"reference": url}],
        "series": [
            {"uid": SERIES, "endpoint": [{"reference": "#e"}], "instance": [{"uid": INSTANCE}]}
        ],
    }


async def endpoint_address(world: World, url: str) -> None:
    entry = {"fullUrl": url, "resource": imaging_study(url)}
    bundle = {"resourceType": "Bundle", "entry": [entry]}
    world.server.on("/token", json_answer({"access_token": "t"}))
    world.server.on("/fhir/ImagingStudy", json_answer(bundle))
    await world.get(f"/dicom-web/studies?StudyInstanceUID={STUDY}")
    await world.get(f"/dicom-web{PATH}")
    await world.client.post("/resolve", json=imaging_study(url), headers=KEY)


async def next_page(world: World, url: str) -> None:
    links = [{"relation": "next", "url": url}]
    world.server.on("/token", json_answer({"access_token": "t"}))
    world.server.on("/fhir/ImagingStudy", json_answer({"resourceType": "Bundle", "link": links}))
    await world.get(f"/dicom-web/studies?StudyInstanceUID={STUDY}")


async def redirects_of_others(world: World, url: str) -> None:
    away = Answer(status=307, headers={"Location": quote(url, safe=":/?#[]@!$&'()*+,;=%\\")})
    for path in ("/fhir/ImagingStudy", "/mpi/Patient/p", "/token", "/keys", "/introspect"):
        world.server.on(path, away)
    bound = bearer(client_id="a", scope="patient/*.rs", patient="p")
    for headers in (bound, bearer(iss="away"), {"Authorization": "Bearer opaque"}):
        status, _ = await world.get("/dicom-web/studies", headers)
        assert status in {401, 503}
    await world.get(f"/dicom-web/studies?StudyInstanceUID={STUDY}")
    await world.get(f"/dicom-web{PATH}")


async def token_header(world: World, url: str) -> None:
    headers: tuple[dict[str, Any], ...] = (
        {"jku": url}, {"x5u": url}, {"kid": url}, {"jwk": {"kty": "RSA", "x5u": url}},
    )  # fmt: skip
    for header in headers:
        await world.get("/dicom-web/studies", bearer(header))
    said: tuple[dict[str, Any], ...] = (
        {"iss": url}, {"aud": url}, {"fhirServer": url, "scope": "patient/*.rs"},
        {"patient": url, "scope": "patient/*.rs", "client_id": "a"},
    )  # fmt: skip
    for claims in said:
        await world.get("/dicom-web/studies", bearer(**claims))


async def launch_and_search(world: World, url: str) -> None:
    value = quote(url, safe="")
    holds(world, "x")
    launch = f"/iid?requestType=STUDY&studyUID={STUDY}"
    for name in ("url", "redirect_uri", "viewerType", "server", "base"):
        await world.get(f"{launch}&{name}={value}")
    await world.get(f"/resolve/studies/{STUDY}?redirect=true&url={value}")
    for name in ("patient", "subject", "endpoint", "identifier", "basedon"):
        await world.get(f"/fhir/r4/ImagingStudy?{name}={value}")
    await world.get(f"/fhir/r4/Patient/{value}")


Place = Callable[[World, str], Any]
PLACES: tuple[Place, ...] = (
    retrieve_url, bulk_data_uri, redirect_of_an_archive, endpoint_address, next_page,
    redirects_of_others, token_header, launch_and_search,
)  # fmt: skip
BASES = ("/dicom-web", "/vault", "/fhir", "/mpi/Patient", "/token", "/keys", "/introspect")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_no_address_in_data_is_connected_to(place: Place, tmp_path: Path) -> None:
    for hostile in HOSTILE:
        async with world(tmp_path) as one:
            with listening() as heard:
                await place(one, hostile.replace("{server}", one.server.url))
            assert heard.addresses <= one.own, hostile
            assert heard.names <= {"127.0.0.1"}, hostile
            assert one.server.requests or place is token_header
            for path in (seen.path.partition("?")[0] for seen in one.server.requests):
                assert any(path == base or path.startswith(f"{base}/") for base in BASES), path
                assert not {".", ".."} & set(path.split("/")), path
                assert "%" not in path, path


async def test_a_place_that_is_followed_would_show(
    fault_archive: FaultArchive, sockets: Sockets
) -> None:
    """The test above sees what it looks for."""
    async with aiohttp.ClientSession() as careless:
        for url in ("http://127.0.0.1:1/", "http://nowhere.invalid/"):
            fault_archive.on("/studies", redirect(url))
            with pytest.raises(aiohttp.ClientConnectorError):
                await careless.get(f"{fault_archive.url}/studies")
    assert ("127.0.0.1", 1) in sockets.addresses
    assert "nowhere.invalid" in sockets.names
