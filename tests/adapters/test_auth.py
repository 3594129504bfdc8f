"""Who a caller is taken for."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from multidict import CIMultiDict

from gateway.adapters.auth import Authenticator
from gateway.config import Settings
from gateway.errors import Forbidden, Unauthorized, Unavailable
from gateway.model import Consumer, Identifier
from tests.issuer import AUDIENCE, EC_KEY, ED_KEY, OTHER_RSA_KEY, RSA_KEY, Issuer, issuer, jwks

PATIENTS = {"p1": (Identifier(value="P-1", system="urn:oid:1.2.3"),)}
NOW = int(time.time())


@pytest_asyncio.fixture
async def authority() -> AsyncIterator[Issuer]:
    async with issuer() as made:
        yield made


@pytest_asyncio.fixture
async def known(authority: Issuer) -> AsyncIterator[Authenticator]:
    made = over(authority)
    yield made
    await made.close()


def over(
    authority: Issuer,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
    **changed: Any,
) -> Authenticator:
    section = {
        "issuer": authority.url,
        "audience": AUDIENCE,
        "jwks_url": f"{authority.url}/jwks",
        **changed,
    }
    settings = Settings.model_validate(
        {
            "auth": {
                "mode": "required",
                "issuers": [{k: v for k, v in section.items() if v is not None}],
                "api_keys": {
                    "pacs-admin": {"key": "0123456789"},
                    "hie": {"key": "k", "policy": "hie"},
                },
            },
            "policies": {"hie": {"hide": [{"modality": ["SR"]}]}, "all": {}},
            "consumers": {"metro-hie": {"policy": "hie"}},
        }
    )

    async def patients(server: str | None, patient: str) -> tuple[Identifier, ...]:
        return PATIENTS.get(patient, ())

    def holds(server: str | None, patient: str, found: tuple[Identifier, ...]) -> bool:
        return PATIENTS.get(patient, ()) == found

    return Authenticator(settings, patients, holds=holds, clock=clock, now=now)


async def consumer_of(known: Authenticator, headers: dict[str, str]) -> Consumer:
    """Who the caller is, asked twice: the second time it may be remembered."""
    first = await known.decision(headers)
    again = await known.decision(headers)
    assert first.consumer == again.consumer
    return first.consumer


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("headers", [{"X-API-Key": "k"}, {"Authorization": "bearer k"}])
async def test_a_key_is_known_in_either_header(
    known: Authenticator, headers: dict[str, str]
) -> None:
    found = await consumer_of(known, headers)
    assert found.id == "hie"
    assert found.policy is not None
    assert found.policy.name == "hie"
    assert (await consumer_of(known, {"X-API-Key": "0123456789"})).policy is None


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA_KEY, "RS256", "r"), (RSA_KEY, "PS384", "r"),
    (EC_KEY, "ES256", "e"), (ED_KEY, "EdDSA", "d")]
)  # fmt: skip
async def test_a_token_is_known_by_its_issuers_keys(
    known: Authenticator, authority: Issuer, key: Any, algorithm: str, kid: str
) -> None:
    token = authority.token(key=key, algorithm=algorithm, header={"kid": kid})
    found = await consumer_of(known, bearer(token))
    assert (found.id, found.user, found.patients, found.scopes) == (
        "metro-hie",
        "user-1",
        None,
        None,
    )


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(authority: Issuer) -> str:
    return f"{part({'alg': 'none', 'kid': 'r'})}.{part(authority.claims())}."


def with_public_key_as_secret(authority: Issuer) -> str:
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({'alg': 'HS256', 'kid': 'r'})}.{part(authority.claims())}"
    digest = hmac.digest(public, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def tampered(authority: Issuer) -> str:
    head, body, signature = authority.token().split(".")
    other = authority.token(sub="somebody-else").split(".")[1]
    return f"{head}.{other}.{signature}" if other != body else ""


BAD: dict[str, Callable[[Issuer], str]] = {
    "unsigned": unsigned,
    "secret": with_public_key_as_secret,
    "tampered": tampered,
    "another key": lambda i: i.token(key=OTHER_RSA_KEY),
    "critical": lambda i: i.token(header={"crit": ["exp"]}),
    "b64": lambda i: i.token(header={"crit": ["b64"], "b64": True}),
    "another audience": lambda i: i.token(aud="https://other.example.org"),
    "no audience": lambda i: i.token(aud=None),
    "expired": lambda i: i.token(exp=NOW - 60),
    "no end": lambda i: i.token(exp=None),
    "not yet": lambda i: i.token(nbf=int(time.time()) + 120),
    "issued in the future": lambda i: i.token(iat=int(time.time()) + 120),
    "no time of issue": lambda i: i.token(iat=None),
    "no subject": lambda i: i.token(sub=None),
    "a subject that is no text": lambda i: i.token(sub=None) + "x",
    "another issuer": lambda i: i.token(iss="https://evil.example.org"),
    "no issuer": lambda i: i.token(iss=None),
    "unknown key id": lambda i: i.token(header={"kid": "zz"}),
    "no key id among several": lambda i: jwt.encode(i.claims(), RSA_KEY, algorithm="RS256"),
    "key of another type": lambda i: i.token(header={"kid": "e"}),
    "another type of token": lambda i: i.token(header={"typ": "logout+jwt"}),
    "id token's type is no text": lambda i: i.token(header={"typ": "JOSE"}),
    "too long": lambda i: i.token(padding="x" * 8192),
    "end that is no number": lambda i: i.token(exp="soon"),
    "garbage": lambda i: "a.b.c",
    "empty": lambda i: "",
    "two words": lambda i: "abc def",
    "not ascii": lambda i: "é" * 20,
    "deep": lambda i: base64.urlsafe_b64encode(b'{"a":' * 2000).decode() + ".e30.x",
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_tokens_are_refused_all_alike(
    known: Authenticator, authority: Issuer, name: str
) -> None:
    with pytest.raises(Unauthorized) as refused:
        await consumer_of(known, bearer(BAD[name](authority)))
    assert str(refused.value) == "the caller is not known"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic azpr"},
        {"Authorization": "Bearer"},
        {"X-API-Key": ""},
        {"X-API-Key": "K"},
        {"X-API-Key": "wrong", "Authorization": "Bearer k"},
        {"X-API-Key": "k", "Authorization": "Bearer wrong"},
        {"x-api-key": "k", "authorization": "Basic azpr"},
        CIMultiDict([("X-API-Key", "k"), ("X-API-Key", "wrong")]),
        CIMultiDict([("Authorization", "Bearer k"), ("authorization", "Bearer wrong")]),
        CIMultiDict([("Authorization", "Bearer k"), ("Authorization", "Bearer k")]),
    ],
)
async def test_other_credentials_are_refused(
    known: Authenticator, headers: Mapping[str, str]
) -> None:
    with pytest.raises(Unauthorized, match="the caller is not known"):
        await known.decision(headers)


async def test_clocks_may_differ_a_little(known: Authenticator, authority: Issuer) -> None:
    token = authority.token(exp=int(time.time()) - 10, iat=int(time.time()) + 20)
    assert (await consumer_of(known, bearer(token))).id == "metro-hie"


async def test_a_caller_without_a_policy_is_refused(
    known: Authenticator, authority: Issuer
) -> None:
    with pytest.raises(Forbidden):
        await consumer_of(known, bearer(authority.token(client_id="stranger")))
    with_policy = over(authority, policy="all")
    found = await consumer_of(with_policy, bearer(authority.token(client_id=None, azp="stranger")))
    assert found.id == "stranger"
    assert found.policy is not None
    await with_policy.close()


async def test_unknown_key_ids_do_not_flood_the_issuer(
    known: Authenticator, authority: Issuer
) -> None:
    for number in range(50):
        with pytest.raises(Unauthorized):
            await consumer_of(known, bearer(authority.token(header={"kid": f"k{number}"})))
    assert (await consumer_of(known, bearer(authority.token()))).id == "metro-hie"
    assert authority.asked == ["keys"]


@pytest.mark.parametrize(
    ("later", "holds"), [(0, True), (329, True), (331, False)], ids=["now", "in time", "ended"]
)
async def test_what_a_token_says_holds_until_it_ends(
    authority: Issuer, *, later: float, holds: bool
) -> None:
    moment = time.time()
    known = over(authority, now=lambda: moment)
    token = bearer(authority.token(exp=int(moment) + 300))
    decision = await known.decision(token)
    assert await known.decision(token) is decision
    moment = int(moment) + later
    assert decision.is_good() is holds
    assert (await known.decision(token) is decision) is holds
    await known.close()


async def test_what_a_token_says_is_found_out_anew_with_the_keys(authority: Issuer) -> None:
    reading = 0.0
    known = over(authority, clock=lambda: reading)
    token = bearer(authority.token())
    decision = await known.decision(token)
    reading = 59.0
    assert decision.is_good()
    reading = 61.0
    assert not decision.is_good()
    assert (await known.decision(token)).consumer == decision.consumer
    assert authority.asked == ["keys", "keys"]
    authority.listed = {"keys": [one for one in jwks()["keys"] if one["kid"] != "r"]}
    again = await known.decision(token)
    reading = 122.0
    assert not again.is_good()
    for one in (token, bearer(authority.token(sub="another"))):
        with pytest.raises(Unauthorized):
            await known.decision(one)
    assert authority.asked == ["keys"] * 3
    await known.close()


async def test_clients_of_two_issuers_are_two(authority: Issuer) -> None:
    settings = Settings.model_validate(
        {
            "auth": {
                "mode": "required",
                "issuers": [
                    {"issuer": name, "audience": AUDIENCE, "jwks_url": f"{authority.url}/jwks"}
                    | more
                    for name, more in (("a", {}), ("b", {"policy": "all"}), ("c", {}))
                ],
                "api_keys": {"metro-hie": {"key": "k"}},
            },
            "policies": {"hie": {"hide": [{"modality": "SR"}]}, "all": {}},
            "consumers": {"metro-hie": {"policy": "hie", "issuer": "a"}},
        }
    )

    async def patients(server: str | None, patient: str) -> tuple[Identifier, ...]:
        return ()

    known = Authenticator(settings, patients, holds=lambda *_: True)
    mine, other = [
        (await known.decision(bearer(authority.token(iss=name)))).consumer for name in ("a", "b")
    ]
    key = (await known.decision({"X-API-Key": "k"})).consumer
    assert [c.policy.name if c.policy else None for c in (mine, other)] == ["hie", "all"]
    with pytest.raises(Forbidden):
        await known.decision(bearer(authority.token(iss="c")))
    assert {c.id for c in (mine, other, key)} == {"metro-hie"}
    assert len({c.account for c in (mine, other, key)}) == 3
    await known.close()


async def test_whom_a_token_speaks_for_is_found_out_anew_with_the_patient(
    known: Authenticator, authority: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = bearer(authority.token(scope="patient/ImagingStudy.rs", patient="p1"))
    decision = await known.decision(token)
    assert await known.decision(token) is decision
    monkeypatch.setitem(PATIENTS, "p1", (Identifier(value="P-2"),))
    assert not decision.is_good()
    assert (await known.decision(token)).consumer.patients == (Identifier(value="P-2"),)


async def test_what_was_said_of_a_token_holds_as_long_as_it_is_remembered(
    authority: Issuer,
) -> None:
    reading = 0.0
    known = over(
        authority,
        clock=lambda: reading,
        jwks_url=None,
        introspection_url=f"{authority.url}/introspect",
        client_id="gateway",
        client_secret="secret",
    )
    authority.opaque["t1"] = {"sub": "u", "client_id": "metro-hie", "aud": AUDIENCE}
    decision = await known.decision(bearer("t1"))
    reading = 59.0
    assert decision.is_good()
    reading = 61.0
    assert not decision.is_good()
    del authority.opaque["t1"]
    with pytest.raises(Unauthorized):
        await known.decision(bearer("t1"))
    await known.close()


async def test_an_issuer_that_is_away_is_no_reason_to_let_anyone_in(authority: Issuer) -> None:
    authority.is_broken = True
    known = over(authority)
    with pytest.raises(Unavailable):
        await consumer_of(known, bearer(authority.token()))
    await known.close()


async def test_a_patient_in_context_binds(known: Authenticator, authority: Issuer) -> None:
    async def of(**claims: Any) -> Any:
        return (await consumer_of(known, bearer(authority.token(**claims)))).patients

    assert await of(scope="patient/ImagingStudy.rs", patient="p1") == PATIENTS["p1"]
    assert await of(scope="patient/*.read launch", patient="p1") == PATIENTS["p1"]
    assert await of(scope="patient/ImagingStudy.rs", patient="p2") == ()
    assert await of(scope="patient/ImagingStudy.rs") == ()
    assert await of(scope="user/ImagingStudy.rs", patient="p1") is None
    assert await of(scope="system/*.read") is None
    assert await of(scope="openid profile") == ()


@pytest_asyncio.fixture
async def opaque(authority: Issuer) -> AsyncIterator[Authenticator]:
    made = over(
        authority,
        jwks_url=None,
        introspection_url=f"{authority.url}/introspect",
        client_id="gateway",
        client_secret="s e:cret",
    )
    yield made
    await made.close()


async def test_opaque_tokens_are_asked_about_once(opaque: Authenticator, authority: Issuer) -> None:
    authority.opaque["t1"] = {"sub": "u", "client_id": "metro-hie", "aud": [AUDIENCE, "x"]}
    for _ in range(3):
        assert (await consumer_of(opaque, bearer("t1"))).id == "metro-hie"
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await consumer_of(opaque, bearer("t2"))
    assert authority.asked == ["introspect", "introspect"]
    decoded = base64.b64decode(authority.authorizations[0].removeprefix("Basic "))
    assert decoded == b"gateway:s+e%3Acret"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://other.example.org"},
        {"iss": "https://evil.example.org"},
        {"exp": NOW - 60},
        {"exp": "soon"},
        {"nbf": NOW + 86400},
    ],
)
async def test_what_is_said_of_opaque_tokens_is_checked(
    opaque: Authenticator, authority: Issuer, changed: dict[str, Any]
) -> None:
    authority.opaque["t"] = {"sub": "u", "client_id": "metro-hie", "aud": AUDIENCE, **changed}
    with pytest.raises(Unauthorized):
        await consumer_of(opaque, bearer("t"))


async def test_introspection_that_is_away_lets_nobody_in_and_keys_go_on(
    opaque: Authenticator, authority: Issuer
) -> None:
    authority.is_broken = True
    with pytest.raises(Unavailable):
        await consumer_of(opaque, bearer("t"))
    assert (await consumer_of(opaque, bearer("k"))).id == "hie"
