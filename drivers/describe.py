"""What a driver may want from its provider's API, as descriptions: drivers never do I/O, the
gateway executes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl

from schemas.request import Inbound, Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One request to the provider's API. `name` is where its answer lands in `Verified.enrichment`.

    `url` is absolute; `settings.api_base_url` replaces its scheme and host. `optional`: normalizing
    can do without. `cursor`: of a sweep's first request, put over the stored cursor before
    `Poll.read` gets it: where the sweep ends, for lists whose rows do not tell when they changed.
    """

    name: str
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    optional: bool = False
    cursor: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token endpoint gave. `expires_at` aware UTC, None when it never ends."""

    access_token: str
    expires_at: datetime | None = None
    refresh_token: str | None = None
    scopes: tuple[str, ...] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


def granted(answer: Any, now: datetime) -> Token:
    """The token of an answer as RFC 6749, section 5.1, has it.

    Raises KeyError or ValueError when there is none.
    """
    if not answer["access_token"]:
        raise ValueError("an empty access_token")
    lasts, scopes = answer.get("expires_in"), answer.get("scope")
    return Token(
        access_token=str(answer["access_token"]),
        expires_at=now + timedelta(seconds=int(lasts)) if lasts else None,
        refresh_token=answer.get("refresh_token"),
        scopes=tuple(scopes.split()) if isinstance(scopes, str) else None,
    )


def bearer(credentials: Mapping[str, str]) -> Mapping[str, str]:
    """Headers of a call that presents its access token (RFC 6750)."""
    return {"Authorization": f"Bearer {credentials['access_token']}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A webhook as the provider keeps it. `live`: it sends. `secret`: with which it signs, where
    the provider tells.
    """

    id: str
    url: str
    topics: tuple[str, ...]
    live: bool = True
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookWish:
    """A webhook to be made. `secret`: the installation's, "" for none. `known`: the answer to
    `Webhooks.about`.
    """

    url: str
    topics: tuple[str, ...]
    secret: str
    settings: Mapping[str, Any]
    known: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """How webhooks are registered at the provider.

    `topics`: those that a driver reads, unless `settings.webhook_topics` names others. `each`: one
    webhook has one topic. `list`, `read`: the webhooks there are. `create`, `made`: a new one.
    `remove`: ends one, by its id. `about`: what must be asked before one is made, None for nothing.
    `signs_with`: whose secret signs: `ours` is sent along, `theirs` is told by the provider when it
    is made, `app` is neither's.
    """

    topics: tuple[str, ...]
    list: Callable[[Mapping[str, Any]], Fetch]
    read: Callable[[Any], tuple[Hook, ...]]
    create: Callable[[HookWish], Fetch]
    made: Callable[[Any], Hook]
    remove: Callable[[str, Mapping[str, Any]], Fetch]
    each: bool = False
    about: Callable[[Mapping[str, Any]], Fetch | None] = lambda _settings: None
    signs_with: Literal["ours", "theirs", "app"] = "app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """How to call the provider's API for one installation.

    `credentials`: the names of which all must be known before anything is called (`access_token`,
    or user and password); or all of `login_with`, where that is another way. `authorize`: the
    headers of a call, from credentials (with `access_token` after a login or OAuth). `login`: the
    request that turns credentials into a token, and `token` reads its answer (given the time of
    it); None where the credentials are used as they are. `login_refused`: statuses by which it
    refuses them, beside 401 and 403.
    `per_minute`: the provider's documented limit; `burst`: calls that may come at once, where it
    says more than a second's worth. `needs`: the requests still wanted before a
    delivery can be normalized, given what is already there. `probe`: a cheap call that proves the
    credentials, given the settings; None where they do not say whom to ask. `query`: parameters put
    over those of every call, from credentials: for a provider that takes its token there. They are
    secret, as the headers are. `refusal`: why an answer with a good status is none, for a provider
    that refuses with a 200. `webhooks`: how they are registered; None where that is done by hand.
    """

    base_url: str
    credentials: tuple[str, ...]
    authorize: Callable[[Mapping[str, str]], Mapping[str, str]]
    needs: Callable[[Verified], tuple[Fetch, ...]] | None = None
    login: Callable[[Mapping[str, str]], Fetch] | None = None
    token: Callable[[Any, datetime], Token] | None = None
    per_minute: int = 60
    burst: int | None = None
    probe: Callable[[Mapping[str, Any]], Fetch | None] | None = None
    query: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None
    refusal: Callable[[Any], str | None] | None = None
    webhooks: Webhooks | None = None
    login_with: tuple[str, ...] = ()
    login_refused: tuple[int, ...] = (400, 422)  # as RFC 6749, section 5.2, has it

    def used(self, known: Mapping[str, str]) -> tuple[str, ...]:
        """The names of the credentials that calls are made with; () where they do not suffice."""
        for names in (self.credentials, self.login_with):
            if names and all(known.get(name) for name in names):
                return names
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """Authorization code grant, as RFC 6749 leaves it open.

    `authorize_url` and `token_url` may hold `{shop}`: the host that `shop` reads from an
    installation's settings, None where they name none that may be trusted with the client's secret.
    `redirect_uri`: which requests name where the owner comes back to (`never`: the provider knows
    it from its own settings). `pkce`: it is known to take PKCE's parameters, whether it checks them
    or not (RFC 6749, section 3.1, has servers ignore what they do not know; not all do).
    `authorize_names`: what the authorization request's parameters are called where RFC 6749's names
    are not understood. `client_signs`: the client's secret signs the provider's webhooks, too.
    `client_auth`: how the client identifies itself at the token
    endpoint; `token_headers` are sent there beside it, `token_params` with the code.
    `check_callback`: the provider's own proof on the callback query (Shopify's hmac), given the
    query, the client secret and the time.
    """

    authorize_url: str
    token_url: str
    scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    shop: Callable[[Mapping[str, Any]], str | None] | None = None
    redirect_uri: Literal["always", "authorize", "never"] = "always"
    pkce: bool = False
    client_auth: Literal["basic", "form", "json"] = "form"
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    authorize_names: Mapping[str, str] = field(default_factory=dict)
    client_signs: bool = True
    token_params: Mapping[str, str] = field(default_factory=dict)
    token_headers: Mapping[str, str] = field(default_factory=dict)
    read_token: Callable[[Any, datetime], Token] | None = None
    custom_client: bool = True
    check_callback: Callable[[Mapping[str, str], str, datetime], bool] | None = None


# The settings per tenant of a driver whose OAuth client may be the tenant's own.
OAUTH_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "custom_oauth_enabled": {"required": False, "type": "boolean"},
    "oauth_settings.redirect_url": {"required": True, "type": "url"},
    "oauth_settings.custom_oauth.client_id": {
        "required_if": "custom_oauth_enabled,true",
        "type": "string",
    },
    "oauth_settings.custom_oauth.client_secret": {
        "required_if": "custom_oauth_enabled,true",
        "type": "string",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one polled page held: deliveries to normalize; the cursor, which the next page's `read`
    gets, and which is kept for the next sweep once this one is at its end; and the next page of the
    same sweep.

    The next page is at the address of `next`, or the request just answered with the query
    parameters `more` put over its own: an answer seldom repeats the question.
    """

    items: tuple[Any, ...]
    cursor: Mapping[str, Any]
    next: Fetch | None = None
    more: Mapping[str, str] = field(default_factory=dict)


def link_query(link: Any) -> Mapping[str, str]:
    """The query of an answer's link to its next page, for `Page.more`: its host is not asked."""
    query = link.partition("#")[0].partition("?")[2] if isinstance(link, str) else ""
    return dict(parse_qsl(query))


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """A list the provider must be asked for.

    `name`: of the list (`abandoned_carts`). `start`: the first page of a sweep, from the stored
    cursor ({} at first), the time and the settings. `read`: what a page held. Each item goes
    through `normalize` as `inbound` makes it a delivery; dedupe keys make an overlap harmless.
    `newest_first`: the order of a page's items. `links`: where a page does not say which is the
    next, a Link header does (RFC 8288). `since`: the cursor of a sweep that looks at everything
    since a time; given for lists that tell what webhooks tell, so that they show which never came.
    """

    name: str
    start: Callable[[Mapping[str, Any], datetime, Mapping[str, Any]], Fetch]
    read: Callable[[Any, Mapping[str, Any]], Page]
    inbound: Callable[[Any, datetime], Inbound]
    interval_minutes: int = 5
    newest_first: bool = False
    links: bool = False
    since: Callable[[datetime], Mapping[str, Any]] | None = None
