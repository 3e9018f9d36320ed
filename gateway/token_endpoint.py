"""Asking a provider's token endpoint, through the guarded way out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from drivers.base import Driver
from drivers.describe import Fetch, OAuth, Token, granted
from gateway.driver_setup import OAuthClient
from gateway.models import Installation
from gateway.oauth import State, code_request, place, refresh_request
from gateway.provider_api import ApiError, rebased
from schemas import codec
from schemas.errors import UnparsableError
from schemas.target import AllowList, InvalidTargetError, check_url
from sinks.base import Http, HttpAnswer, HttpError
from sinks.http_outcome import retry_after

TIMEOUT = 20.0
MOST_BYTES = 64 * 1024
MOST_TOLD = 200  # characters of a provider's explanation
BUSY_PAUSE = 30.0


class TokenEndpoint:
    """Gets tokens for installations. Raises ApiError: `permanent` when the provider refused."""

    def __init__(self, http: Http, allow: AllowList, now: Callable[[], int]) -> None:
        self._http, self._allow, self._now = http, allow, now

    def url(self, oauth: OAuth, installation: Installation) -> str:
        """Of the token endpoint, at `settings.api_base_url` where the installation has one.

        That one must be a host the operator listed: what goes there is the client's secret, which
        belongs to the whole tenant. Raises ApiError.
        """
        found = place(oauth, oauth.token_url, installation.settings)
        if found is None:
            raise ApiError("settings.shop does not name a shop", permanent=True)
        base = installation.settings.get("api_base_url")
        if base and not self._is_listed(base):
            raise ApiError(
                "settings.api_base_url names a host that COMPORTA_ALLOW_TARGETS does not list:"
                " the OAuth client's secret is not sent there",
                permanent=True,
            )
        return rebased(found, base)

    def _is_listed(self, base: Any) -> bool:
        try:
            return check_url(str(base), self._allow, require_https=True).listed
        except InvalidTargetError:
            return False

    async def exchange(
        self,
        driver: Driver,
        installation: Installation,
        client: OAuthClient,
        *,
        callback: str,
        state: State,
        code: str,
    ) -> Token:
        """The token that a code stands for."""
        oauth = _described(driver)
        url = self.url(oauth, installation)
        asked = code_request(oauth, url, client, callback=callback, state=state, code=code)
        return await self._ask(oauth, asked)

    async def refresh(
        self, driver: Driver, installation: Installation, client: OAuthClient, refresh_token: str
    ) -> Token:
        """The next token, with the refresh token to use from now on."""
        oauth = _described(driver)
        url = self.url(oauth, installation)
        return await self._ask(oauth, refresh_request(oauth, url, client, refresh_token))

    async def _ask(self, oauth: OAuth, fetch: Fetch) -> Token:
        try:
            answer = await self._http.request(
                fetch.method,
                fetch.url,
                headers=fetch.headers,
                body=fetch.body,
                timeout=TIMEOUT,
                limit=MOST_BYTES,
            )
        except HttpError as error:
            blocked = error.kind == "blocked"
            raise ApiError(f"{error.kind}: {error.message}", permanent=blocked) from None
        moment = datetime.fromtimestamp(self._now() / 1_000_000, UTC)
        told = _values(answer)
        if not 200 <= answer.status < 300:
            raise _refusal(answer, told, moment)
        try:
            token = (oauth.read_token or granted)(told, moment)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            token = None
        if token is None or not token.access_token:
            # Some providers refuse with 200; others show a page while they are being repaired.
            refused = isinstance(told, dict) and bool(told.get("error"))
            raise ApiError(f"the answer holds no token{_explained(told)}", permanent=refused)
        return token


def _described(driver: Driver) -> OAuth:
    if driver.oauth is None:
        raise ApiError(f"{driver.name} has no OAuth", permanent=True)
    return driver.oauth


def _values(answer: HttpAnswer) -> Any:
    try:
        return codec.loads(answer.body)
    except UnparsableError:
        return None


def _refusal(answer: HttpAnswer, told: Any, moment: datetime) -> ApiError:
    """What an answer other than 2xx means: come again, or never."""
    reason = f"HTTP {answer.status}{_explained(told)}"
    if answer.status in {408, 425, 429} or answer.status >= 500:
        asked = retry_after(answer.headers.get("retry-after"), moment)
        busy = answer.status in {429, 503}
        return ApiError(reason, after=BUSY_PAUSE if busy and asked is None else asked)
    return ApiError(reason, permanent=True)


def _explained(told: Any) -> str:
    """The provider's own words, as RFC 6749, Bling or Eduzz have them."""
    if not isinstance(told, dict):
        return ""
    error = told.get("error")
    inner = error if isinstance(error, dict) else told | {"type": error}
    about = (inner.get(name) for name in ("error_description", "description", "message"))
    words = (inner.get("type"), next(filter(None, about), None))
    said = ": ".join(word for word in words if isinstance(word, str) and word)
    shown = "".join(c if c.isprintable() else " " for c in said)[:MOST_TOLD]
    return f" ({shown})" if shown else ""
