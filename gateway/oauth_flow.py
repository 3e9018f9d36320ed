"""Authorising an installation, from the URL its owner is sent to until the token is stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from drivers import BY_SLUG
from drivers.base import Driver
from drivers.describe import OAuth, Token
from gateway.changes import change
from gateway.driver_setup import OAuthClient, missing_for_oauth, oauth_client
from gateway.models import Installation, Secret
from gateway.oauth import (
    ROUND,
    State,
    States,
    authorization_url,
    callback_url,
    not_granted,
    place,
    used_up,
)
from gateway.oauth_refresh import kept
from gateway.parts import Parts
from gateway.provider_api import ApiError
from gateway.standing import Move, Standing
from gateway.token_endpoint import TokenEndpoint
from schemas.errors import BadRequestError, ConflictError, ForbiddenError, NotFoundError

MOST_TOLD = 200  # characters of what a callback says
USED = "this authorization was used already: begin it again"


class OAuthFlow:
    """The executor of what drivers describe. `base_url`: our public URL. `now`: microseconds."""

    def __init__(
        self, parts: Parts, states: States, endpoint: TokenEndpoint, standing: Standing
    ) -> None:
        self._directory, self._now = parts.directory, parts.now
        self._base_url = parts.settings.base_url
        self._states, self._endpoint, self._standing = states, endpoint, standing

    def begin(self, installation: Installation) -> str:
        """A fresh URL at which the installation is authorised. Raises ConflictError saying what is
        missing.
        """
        driver = BY_SLUG.get(installation.driver)
        oauth = driver.oauth if driver else None
        if driver is None or oauth is None:
            raise ConflictError(f"{installation.driver} is not authorised by OAuth")
        page = place(oauth, oauth.authorize_url, installation.settings)
        try:
            self._endpoint.url(oauth, installation)
        except ApiError as error:
            raise ConflictError(error.reason, code="driver_not_configured") from None
        client = self._client(installation)
        state = self._states.new(installation)
        return authorization_url(oauth, page or "", client, self._callback(driver), state)

    def url(self, installation: Installation) -> str | None:
        """The same to show with an installation: None where it needs none, or lacks something."""
        driver = BY_SLUG.get(installation.driver)
        if driver is None or driver.oauth is None or not _wants_owner(installation):
            return None
        settings = self._directory.driver_settings(installation.tenant, driver.slug)
        if missing_for_oauth(settings):
            return None
        try:
            return self.begin(installation)
        except ConflictError:
            return None

    async def complete(self, driver: Driver, query: Mapping[str, str]) -> str:
        """Take in what the provider sent the owner back with; gives where they go on to.

        Whatever comes of it is the installation's status. Raises a RequestError for what did not
        begin here, or was completed already: nothing was changed then.
        """
        state = self._states.read(query.get("state", ""))
        await self._directory.refresh("installation", state.installation_id)
        one = self._directory.installation(state.installation_id)
        if one is None or one.driver != driver.slug or driver.oauth is None:
            raise NotFoundError("the installation that was to be authorised is gone")
        client = self._client(one)
        self._check(driver.oauth, one, client, query)
        await self._use_up(state)
        try:
            token = await self._token(driver, one, client, state, query)
        except ApiError as error:
            await self._fail(one.id, error.reason)
        else:
            await self._authorise(driver.oauth, one.id, client, token)
        settings = self._directory.driver_settings(one.tenant, driver.slug)
        return settings.redirect_url if settings else ""

    def _check(
        self, oauth: OAuth, one: Installation, client: OAuthClient, query: Mapping[str, str]
    ) -> None:
        """The provider's own proof, and that it speaks of the same shop. Raises ForbiddenError."""
        moment = datetime.fromtimestamp(self._now() / 1_000_000, UTC)
        proven = oauth.check_callback
        if proven is not None and not proven(query, client.client_secret, moment):
            raise ForbiddenError(
                "the provider's signature on this callback does not hold", code="invalid_callback"
            )
        expected = oauth.shop(one.settings) if oauth.shop else None
        if expected is not None and query.get("shop", "").lower() != expected:
            raise ForbiddenError("this callback is of another shop", code="invalid_callback")

    async def _use_up(self, state: State) -> None:
        """Raises BadRequestError when somebody did already: only one write of a version wins."""

        def used(current: Installation) -> Installation:
            if used_up(current) != state.round:
                raise BadRequestError(USED, code="state_used")
            return current.model_copy(update={"info": current.info | {ROUND: state.round + 1}})

        ident = state.installation_id
        await change(
            self._directory, "installation", lambda: self._directory.installation(ident), used
        )

    async def _token(
        self,
        driver: Driver,
        one: Installation,
        client: OAuthClient,
        state: State,
        query: Mapping[str, str],
    ) -> Token:
        """The token that a callback brings. Raises ApiError when it brings none."""
        if "error" in query or not query.get("code"):
            words = (query.get("error") or "no code came back", query.get("error_description"))
            said = ": ".join(word for word in words if word)[:MOST_TOLD]
            shown = "".join(c if c.isprintable() else " " for c in said)
            raise ApiError(f"access was not granted: {shown}", permanent=True)
        try:
            callback = self._callback(driver)
            return await self._endpoint.exchange(
                driver, one, client, callback=callback, state=state, code=query["code"]
            )
        except ApiError as error:
            raise ApiError(f"the code gave no token: {error.reason}", permanent=True) from None

    async def _fail(self, ident: str, reason: str) -> None:
        """It is in error, unless it still has what it worked with until now."""

        def failed(current: Installation) -> Move:
            works = current.status in {"active", "disabled"}
            return None if works else {"status": "error", "reason": reason}

        await self._standing.move(ident, "oauth.failed", failed)

    async def _authorise(self, oauth: OAuth, ident: str, client: OAuthClient, token: Token) -> None:
        missing = not_granted(oauth, token)
        held = kept(token, self._now())

        def authorised(current: Installation) -> Move:
            if missing:
                reason = f"these scopes were not granted: {', '.join(missing)}"
                return {"status": "error", "reason": reason, "oauth": {}}
            update: dict[str, Any] = {"oauth": held, "reason": None, "earlier": ()}
            if oauth.client_signs and not current.secrets and client.client_secret:
                update["secrets"] = (Secret(value=client.client_secret),)
                update["info"] = current.info | {"default_secret": True}
            own = {k: v for k, v in current.credentials.items() if k != "access_token"}
            status = "disabled" if current.status == "disabled" else "active"
            return update | {"status": status, "credentials": own}

        cause = "oauth.scopes_missing" if missing else "oauth.authorized"
        await self._standing.move(ident, cause, authorised)

    def _client(self, installation: Installation) -> OAuthClient:
        return oauth_client(
            self._directory.driver_settings(installation.tenant, installation.driver)
        )

    def _callback(self, driver: Driver) -> str:
        return callback_url(driver.slug, self._base_url)


def _wants_owner(installation: Installation) -> bool:
    """Whether its owner can make it work: it waits for them, or lost what they granted."""
    has_own = "access_token" in installation.credentials
    return installation.status == "pending_auth" or (installation.status == "error" and not has_own)
