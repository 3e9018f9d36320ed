"""Calling a provider's API for an installation, as its driver describes it.

One place that logs in, keeps to the documented rate, honours Retry-After for the whole
installation, and tells what may be tried again from what may not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from drivers.base import Driver
from drivers.describe import Api, Fetch, Token
from gateway.models import Installation
from gateway.overlap import Turns
from gateway.pace import Pace
from schemas import codec
from schemas.errors import MalformedError, UnparsableError
from sinks.base import Http, HttpAnswer, HttpError
from sinks.http_outcome import retry_after

TIMEOUT = 20.0
CHECK_TIMEOUT = 4.0  # somebody waits for the answer
MOST_BYTES = 4 * 1024 * 1024
LONGEST_WAIT = 10.0  # seconds to wait for the rate in place; longer waits go back to the store
BUSY_PAUSE = 30.0
EXPIRY_MARGIN = 60.0


class ApiError(Exception):
    """A call did not work. `after`: seconds until it may; `permanent`: it never will by itself.
    `unauthorized`: the credentials are refused. `waits`: nothing is wrong, it is too early.
    """

    def __init__(
        self,
        reason: str,
        *,
        after: float | None = None,
        permanent: bool = False,
        unauthorized: bool = False,
        waits: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.after = reason, after
        self.permanent, self.unauthorized, self.waits = permanent, unauthorized, waits


class Access(Protocol):
    """Who looks after the credentials that installations call with."""

    async def ready(self, installation: Installation) -> Installation:
        """The installation with credentials that are good for a while. Raises ApiError."""

    async def renewed(self, installation: Installation) -> Installation | None:
        """After a 401: the installation with other credentials, to be tried once. Raises ApiError;
        None when it has no others.
        """

    async def refused(self, installation: Installation, reason: str) -> None:
        """The provider refused the credentials, and there is nothing else to try."""

    async def fell_back(self, installation: Installation, reason: str | None) -> None:
        """It refused the newest credentials, and took earlier ones; None: it takes the newest."""


class FixedAccess:
    """Credentials are what they are."""

    async def ready(self, installation: Installation) -> Installation:
        """See Access."""
        return installation

    async def renewed(self, installation: Installation) -> Installation | None:
        """See Access."""
        return None

    async def refused(self, installation: Installation, reason: str) -> None:
        """See Access."""

    async def fell_back(self, installation: Installation, reason: str | None) -> None:
        """See Access."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said. `links`: its Link header."""

    body: Any
    links: str


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What it said of an installation's credentials."""

    one: Installation
    error: ApiError


@dataclass(slots=True)
class _Login:
    """A token got by `Api.login` with these credentials."""

    known: Mapping[str, str]
    token: Token


@dataclass(slots=True)
class _Caller:
    """What this process remembers of an installation. `held_until`: when the provider may be asked
    again, monotonic seconds.
    """

    pace: Pace
    held_until: float = 0.0
    login: _Login | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ProviderApi:
    """Calls providers. Tokens of logins, rates and holds are per installation and process."""

    def __init__(
        self,
        http: Http,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        access: Access | None = None,
    ) -> None:
        self._http, self._now, self._monotonic = http, now, monotonic
        self._access: Access = access or FixedAccess()
        self._callers: dict[str, _Caller] = {}
        self._turns = Turns(now)

    async def call(self, driver: Driver, installation: Installation, fetch: Fetch) -> Any:
        """The parsed answer of a request, None where an optional one has none. Raises ApiError."""
        return (await self.ask(driver, installation, fetch)).body

    async def ask(self, driver: Driver, installation: Installation, fetch: Fetch) -> Answer:
        """The same, with what the answer's headers say of further pages."""
        api = driver.api
        if api is None:
            raise ApiError(f"{driver.name} has no API here", permanent=True)
        one = await self._access.ready(installation)
        known = one.known_credentials
        if not api.used(known):  # they were there when this work was begun
            missing = [name for name in api.credentials if not known.get(name)]
            raise ApiError(f"the installation has no {', '.join(missing)} any more")
        newest: _Refusal | None = None
        for version in self._turns.of(one):
            got = await self._asked(api, version, fetch)
            if isinstance(got, Answer):
                if version is one or newest is not None:
                    self._turns.worked(one, version)
                    await self._access.fell_back(one, newest.error.reason if newest else None)
                return got
            newest = got if version is one else newest
        if newest is None:
            raise AssertionError("unreachable: the newest credentials are always tried")
        await self._access.refused(newest.one, newest.error.reason)
        raise newest.error

    async def _asked(self, api: Api, one: Installation, fetch: Fetch) -> Answer | _Refusal:
        """The same with these credentials, or with what renewing them gave."""
        try:
            answer = await self._authorised(api, one, fetch)
            if answer.status == 401 or (answer.status == 403 and api.login is not None):
                other = await self._renewed(api, one)
                if other is not None:
                    one = other
                    answer = await self._authorised(api, one, fetch)
            body = self._read(one, answer, fetch)
            _refuse(api, fetch, body)
        except ApiError as error:
            if error.unauthorized:
                return _Refusal(one, error)
            raise
        return Answer(body, answer.headers.get("link", ""))

    async def check(self, driver: Driver, installation: Installation) -> None:
        """Return when the provider knows the credentials, or there is no way to ask. Raises
        ApiError. Nothing is kept of it: the installation need not be stored.
        """
        api = driver.api
        if api is None:
            return
        known = dict(installation.known_credentials)
        if api.login is not None and not known.get("access_token"):
            token = await self._log_in(api, installation, known, CHECK_TIMEOUT)
            known |= dict(token.extra) | {"access_token": token.access_token}
        fetch = api.probe(installation.settings) if api.probe else None
        if fetch is not None:
            answer = await self._present(api, installation, fetch, known, CHECK_TIMEOUT)
            _refuse(api, fetch, self._read(installation, answer, fetch))

    def forget(self, ident: str) -> None:
        """An installation is gone."""
        self._callers.pop(ident, None)
        self._turns.forget(ident)

    async def _renewed(self, api: Api, installation: Installation) -> Installation | None:
        if api.login is None or installation.known_credentials.get("access_token"):
            return await self._access.renewed(installation)
        self._caller(api, installation).login = None
        return installation

    def _caller(self, api: Api, installation: Installation) -> _Caller:
        caller = self._callers.get(installation.id)
        if caller is None:
            rate = api.per_minute / 60
            made = _Caller(Pace(rate, burst=api.burst / rate if api.burst else 1.0))
            caller = self._callers[installation.id] = made
        return caller

    async def _authorised(self, api: Api, installation: Installation, fetch: Fetch) -> HttpAnswer:
        await self._wait_turn(api, installation)
        credentials = await self._credentials(api, installation)
        return await self._present(api, installation, fetch, credentials)

    async def _present(
        self,
        api: Api,
        installation: Installation,
        fetch: Fetch,
        credentials: Mapping[str, str],
        within: float = TIMEOUT,
    ) -> HttpAnswer:
        """One call with these credentials."""
        headers = {"Accept": "application/json", **fetch.headers, **api.authorize(credentials)}
        if api.query is not None:
            fetch = replace(fetch, url=with_query(fetch.url, api.query(credentials)))
        return await self._request(installation, fetch, headers, within)

    async def _credentials(self, api: Api, installation: Installation) -> Mapping[str, str]:
        """What `authorize` wants: with a fresh access token where there is a login."""
        known = installation.known_credentials
        if api.login is None or api.token is None or known.get("access_token"):
            return known
        caller = self._caller(api, installation)
        async with caller.lock:
            login = caller.login
            if login is None or login.known != known or self._is_over(login.token):
                token = await self._log_in(api, installation, known)
                login = caller.login = _Login(dict(known), token)
        return dict(known) | dict(login.token.extra) | {"access_token": login.token.access_token}

    async def _log_in(
        self,
        api: Api,
        installation: Installation,
        known: Mapping[str, str],
        within: float = TIMEOUT,
    ) -> Token:
        if api.login is None or api.token is None:
            raise ApiError("no login is described", permanent=True)
        fetch = api.login(known)
        answer = await self._request(
            installation, fetch, {"Accept": "application/json", **fetch.headers}, within
        )
        if answer.status in api.login_refused:
            raise ApiError(f"{fetch.name}: HTTP {answer.status}", unauthorized=True)
        try:
            return api.token(self._read(installation, answer, fetch), self._moment())
        except (LookupError, TypeError, ValueError, AttributeError, MalformedError) as error:
            raise ApiError(f"the login gave no token: {error}", unauthorized=True) from error

    def _is_over(self, token: Token) -> bool:
        if token.expires_at is None:
            return False
        return (token.expires_at - self._moment()).total_seconds() < EXPIRY_MARGIN

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._now() / 1_000_000, UTC)

    async def _wait_turn(self, api: Api, installation: Installation) -> None:
        caller = self._caller(api, installation)
        while True:
            held = caller.held_until - self._monotonic()
            if held > 0:
                raise ApiError("the provider asked us to wait", after=held, waits=True)
            wait = caller.pace.take(self._monotonic())
            if not wait:
                return
            if wait > LONGEST_WAIT:
                raise ApiError("our own rate limit for this provider", after=wait, waits=True)
            await asyncio.sleep(wait)

    async def _request(
        self,
        installation: Installation,
        fetch: Fetch,
        headers: Mapping[str, str],
        within: float,
    ) -> HttpAnswer:
        url = rebased(fetch.url, installation.settings.get("api_base_url"))
        try:
            return await self._http.request(
                fetch.method,
                url,
                headers=headers,
                body=fetch.body,
                timeout=within,
                limit=MOST_BYTES,
            )
        except HttpError as error:
            raise ApiError(
                f"{error.kind}: {error.message}", permanent=error.kind == "blocked"
            ) from None

    def _read(self, installation: Installation, answer: HttpAnswer, fetch: Fetch) -> Any:
        status = answer.status
        if 200 <= status < 300:
            try:
                return codec.loads(answer.body) if answer.body.strip() else None
            except UnparsableError as error:
                raise ApiError(f"{fetch.name}: {error.message}") from None
        if fetch.optional and status in {403, 404, 410}:
            return None
        reason = f"{fetch.name}: HTTP {status}"
        if status in {429, 503}:
            asked = retry_after(answer.headers.get("retry-after"), self._moment())
            after = BUSY_PAUSE if asked is None else asked
            caller = self._callers.get(installation.id)
            if caller is not None:
                caller.held_until = self._monotonic() + after
            raise ApiError(reason, after=after, waits=status == 429)
        raise ApiError(
            reason,
            permanent=400 <= status < 500 and status not in {401, 403, 408, 425},
            unauthorized=status in {401, 403},
        )


def _refuse(api: Api, fetch: Fetch, body: Any) -> None:
    refusal = api.refusal(body) if api.refusal is not None else None
    if refusal is not None:
        raise ApiError(f"{fetch.name}: {refusal}")


def with_query(url: str, more: Mapping[str, str]) -> str:
    """`url` with query parameters put over its own."""
    parts = urlsplit(url)
    own = parse_qsl(parts.query, keep_blank_values=True)
    query = [pair for pair in own if pair[0] not in more] + list(more.items())
    return urlunsplit(parts._replace(query=urlencode(query)))


def rebased(url: str, base: Any) -> str:
    """`url` with the scheme and host of `base` (settings.api_base_url); the path stays."""
    if not isinstance(base, str) or not base:
        return url
    parts, other = urlsplit(url), urlsplit(base)
    return urlunsplit((other.scheme, other.netloc, parts.path, parts.query, ""))
