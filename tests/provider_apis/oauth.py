"""Authorization servers on the loopback, as the providers run theirs: each checks what its dossier
says that clients send, rotates what it says rotates, and forgets what was revoked.
"""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

from aiohttp import web

CLIENT_ID, CLIENT_SECRET = "client-1", "client-secret-of-these-tests"


@dataclass
class Grant:
    """What an owner granted; gone once it is revoked."""

    scope: str
    challenge: str | None
    live: bool = True


@dataclass
class RefusalError(Exception):
    """An answer that is no token."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Authority:
    """One provider's authorization server and, behind its tokens, its API.

    `lifetime`: seconds of an access token, None for tokens that never end; `short`: of the first
    ones, before that counts. `scope`: granted instead
    of what was asked for. `busy`: answers of 429 still to come. `gate`: while it is closed, the
    token endpoint does not answer, and `waiting` counts who waits. `api`: path to answer, behind a
    valid token.
    """

    lifetime: float | None = 3600
    short: list[float] = field(default_factory=list)
    scope: str | None = None
    busy: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    api: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    codes: dict[str, Grant] = field(default_factory=dict)
    access: dict[str, tuple[Grant, float]] = field(default_factory=dict)
    refresh: dict[str, Grant] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    called: list[tuple[str, int]] = field(default_factory=list)
    made: int = 0
    waiting: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    # What a browser does.

    def grant(self, auth_url: str, **more: str) -> str:
        """The owner agrees on the page; gives the query that the callback is called with."""
        asked = dict(parse_qsl(urlsplit(auth_url).query, keep_blank_values=True))
        assert asked[self.response_type] == "code"
        assert asked["client_id"] == CLIENT_ID
        scope = self.scope if self.scope is not None else asked.get("scope", "")
        self.made += 1
        code = f"code-{self.made}"
        self.codes[code] = Grant(scope, asked.get("code_challenge"))
        return urlencode({"code": code, "state": asked["state"], **more})

    def revoke(self) -> None:
        """The owner takes everything back."""
        for granted, _ in self.access.values():
            granted.live = False
        for granted in self.refresh.values():
            granted.live = False

    # What the gateway does.

    async def token(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        try:
            self.check_pace()
            form = self.form(request, body)
            self.check_client(request, form)
            self.asked.append(form)
            answer = self.issue(self.granted(form), form)
        except RefusalError as refusal:
            return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)
        return web.json_response(answer)

    def check_pace(self) -> None:
        if self.busy:
            self.busy -= 1
            raise RefusalError(429, {"error": "slow_down"}, {"Retry-After": "1"})

    def form(self, request: web.Request, body: bytes) -> dict[str, str]:
        if request.content_type != "application/x-www-form-urlencoded":
            raise RefusalError(400, {"error": "invalid_request"})
        return {name: values[0] for name, values in parse_qs(body.decode()).items()}

    def check_client(self, request: web.Request, form: Mapping[str, str]) -> None:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            raise RefusalError(401, {"error": "invalid_client"})

    def granted(self, form: Mapping[str, str]) -> Grant:
        """What the code or the refresh token stands for."""
        if form.get("grant_type") == "refresh_token":
            given = form["refresh_token"]
            self.refreshed.append(given)
            found = self.spend_refresh(given)
        else:
            found = self.codes.pop(form.get("code", ""), None)
            if found and found.challenge is not None:
                digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
                if urlsafe_b64encode(digest).rstrip(b"=").decode() != found.challenge:
                    found = None
        if found is None or not found.live:
            raise RefusalError(400, self.invalid_grant())
        return found

    def spend_refresh(self, given: str) -> Grant | None:
        """It rotates: the old one is worth nothing any more."""
        return self.refresh.pop(given, None)

    def invalid_grant(self) -> Any:
        return {"error": "invalid_grant", "error_description": "it was revoked or used"}

    def issue(self, granted: Grant, form: Mapping[str, str]) -> dict[str, Any]:
        self.made += 1
        access, refresh = f"access-{self.made}", f"refresh-{self.made}"
        lasts = self.short.pop(0) if self.short else self.lifetime
        ends = float("inf") if lasts is None else time.time() + lasts
        self.access[access] = (granted, ends)
        self.refresh[refresh] = granted
        told: dict[str, Any] = {"access_token": access, "refresh_token": refresh}
        if lasts is not None:
            told["expires_in"] = lasts
        return told | {"token_type": "Bearer", "scope": granted.scope}

    def presented(self, request: web.Request) -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    async def call(self, request: web.Request) -> web.Response:
        granted, ends = self.access.get(self.presented(request), (None, 0.0))
        works = granted is not None and granted.live and time.time() < ends
        known = self.api.get(request.path)
        status = 401 if not works else 200 if known is not None else 404
        self.called.append((request.path, status))
        return web.json_response(known if status == 200 else {"error": status}, status=status)

    token_path = "/oauth/token"
    response_type = "response_type"

    @property
    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post(self.token_path, self.token)
        app.router.add_route("*", "/{path:.*}", self.call)
        return app


class Bling(Authority):
    """The client by HTTP Basic, JWTs by a header, refresh tokens that rotate; errors nested."""

    token_path = "/Api/v3/oauth/token"

    def check_client(self, request: web.Request, form: Mapping[str, str]) -> None:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        pair = f"{CLIENT_ID}:{CLIENT_SECRET}"
        if kind != "Basic" or b64decode(given).decode() != pair or "client_secret" in form:
            raise RefusalError(401, {"error": {"type": "invalid_client"}})
        if request.headers.get("enable-jwt") != "1":
            raise RefusalError(400, {"error": {"type": "enable-jwt is missing"}})

    def invalid_grant(self) -> Any:
        return {"error": {"type": "invalid_grant", "description": "Invalid refresh token"}}


class Shopify(Authority):
    """JSON, scopes between commas, signed callbacks, expiring offline tokens. A refresh token that
    was used goes on working until the token it gave is used.
    """

    token_path = "/admin/oauth/access_token"
    shop = "casa.myshopify.com"

    def grant(self, auth_url: str, **more: str) -> str:
        assert urlsplit(auth_url).netloc == self.shop
        now = str(int(time.time()))
        query = super().grant(auth_url, shop=self.shop, timestamp=now, host="aG9zdA==", **more)
        pairs = sorted(parse_qsl(query, keep_blank_values=True))
        message = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in pairs)
        proof = hmac.new(CLIENT_SECRET.encode(), message.encode(), hashlib.sha256).hexdigest()
        return f"{query}&hmac={proof}"

    def form(self, request: web.Request, body: bytes) -> dict[str, str]:
        if request.content_type != "application/json":
            raise RefusalError(400, {"error": "invalid_request"})
        told: dict[str, str] = json.loads(body)
        return told

    def issue(self, granted: Grant, form: Mapping[str, str]) -> dict[str, Any]:
        told = super().issue(granted, form)
        if form.get("grant_type") != "refresh_token" and form.get("expiring") != "1":
            return {"access_token": told["access_token"], "scope": granted.scope}
        return told | {"refresh_token_expires_in": 7_776_000}

    def spend_refresh(self, given: str) -> Grant | None:
        return self.refresh.get(given)

    def presented(self, request: web.Request) -> str:
        return request.headers.get("X-Shopify-Access-Token", "")


class Stripe(Authority):
    """Connect: the platform's secret key in the form, tokens that never end, the account's id."""

    def issue(self, granted: Grant, form: Mapping[str, str]) -> dict[str, Any]:
        told = super().issue(granted, form)
        return told | {"stripe_user_id": "acct_1", "livemode": False}


class Eduzz(Authority):
    """Names of its own on the page, JSON, the account beside a token that never ends and is not
    renewed; 404 for what is worth nothing. https://developers.eduzz.com/docs/api/user-token
    """

    response_type = "responseType"
    account = "/accounts/v1/me"

    def form(self, request: web.Request, body: bytes) -> dict[str, str]:
        if request.content_type != "application/json":
            form = super().form(request, body)
            assert form["grant_type"] == "client_credentials"
            return form
        told: dict[str, str] = json.loads(body)
        assert told["grant_type"] == "authorization_code"
        return told

    def check_client(self, request: web.Request, form: Mapping[str, str]) -> None:
        if (form["client_id"], form["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
            raise RefusalError(404, {"message": "App not found", "code": "ERR_APP"})

    def granted(self, form: Mapping[str, str]) -> Grant:
        if form["grant_type"] == "client_credentials":
            return Grant("", None)
        found = self.codes.pop(form.get("code", ""), None)
        if not form["redirect_uri"] or not found:
            raise RefusalError(404, {"message": "Token not found", "code": "ERR_TOKEN"})
        return found

    def issue(self, granted: Grant, form: Mapping[str, str]) -> dict[str, Any]:
        token = super().issue(granted, form)["access_token"]
        told = {"access_token": token, "refresh_token": None, "expires_in": 0}
        user = {"id": "0b19bf3d-b1f6-47cf-8a84-9fb22a9ae63b", "eduzzId": 98239281}
        return told | {"token_type": "bearer", "scope": "webhook_read", "ttl": None, "user": user}


class Kiwify(Authority):
    """Client credentials: a token for whoever has the client, and no refresh token."""

    token_path = "/v1/oauth/token"

    def granted(self, form: Mapping[str, str]) -> Grant:
        return Grant("", None)

    def issue(self, granted: Grant, form: Mapping[str, str]) -> dict[str, Any]:
        told = super().issue(granted, form)
        return {name: told[name] for name in ("access_token", "token_type", "expires_in")}


class Hotmart(Kiwify):
    """Client credentials: the client in the query, and what the panel calls Basic in a header."""

    token_path = "/security/oauth/token"
    basic = "Basic QmFzaWM="

    def form(self, request: web.Request, body: bytes) -> dict[str, str]:
        assert body == b""
        return dict(request.query)

    def check_client(self, request: web.Request, form: Mapping[str, str]) -> None:
        super().check_client(request, form)
        if request.headers.get("Authorization") != self.basic:
            raise RefusalError(401, {"error": "invalid_client"})


@asynccontextmanager
async def authority(kind: type[Authority] = Bling, **given: Any) -> AsyncIterator[Authority]:
    """A provider on a free port."""
    provider = kind(**given)
    runner = web.AppRunner(provider.app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield provider
    finally:
        provider.gate.set()
        await runner.cleanup()
