"""An authority that issues tokens: a small real server with keys and introspection."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "https://gateway.example.org"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jwks() -> dict[str, Any]:
    """The public keys."""
    keys = {
        "r": json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key())),
        "e": json.loads(ECAlgorithm.to_jwk(EC_KEY.public_key())),
        "d": json.loads(OKPAlgorithm.to_jwk(ED_KEY.public_key())),
    }
    return {"keys": [{**key, "kid": kid, "use": "sig"} for kid, key in keys.items()]}


class Issuer:
    """What the server at `url` knows, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.is_broken = False
        self.listed = jwks()
        self.etag: str | None = None
        self.named: list[str] = []
        self.opaque: dict[str, dict[str, Any]] = {}
        self.authorizations: list[str] = []

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims that are good now; one that is changed to None is left out."""
        now = int(time.time())
        good = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "user-1",
            "client_id": "metro-hie",
            "iat": now,
            "exp": now + 300,
        }
        return {k: v for k, v in {**good, **changed}.items() if v is not None}

    def token(
        self,
        *,
        key: Any = RSA_KEY,
        algorithm: str = "RS256",
        header: dict[str, Any] | None = None,
        **changed: Any,
    ) -> str:
        """A signed token."""
        headers = {"kid": "r", "typ": "at+jwt", **(header or {})}
        return jwt.encode(self.claims(**changed), key, algorithm=algorithm, headers=headers)

    async def keys(self, request: web.Request) -> web.Response:
        self.asked.append("keys")
        if self.is_broken:
            return web.Response(status=500)
        if self.etag is None:
            return web.json_response(self.listed)
        self.named.append(request.headers.get("If-None-Match", ""))
        if self.named[-1] == self.etag:
            return web.Response(status=304)
        return web.json_response(self.listed, headers={"ETag": self.etag})

    async def introspect(self, request: web.Request) -> web.Response:
        self.asked.append("introspect")
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.is_broken:
            return web.Response(status=500)
        form = await request.post()
        said = self.opaque.get(str(form["token"]))
        return web.json_response({"active": False} if said is None else {"active": True, **said})


@asynccontextmanager
async def issuer() -> AsyncIterator[Issuer]:
    """The server, running on loopback."""
    made = Issuer()
    app = web.Application()
    app.router.add_get("/jwks", made.keys)
    app.router.add_post("/introspect", made.introspect)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()
