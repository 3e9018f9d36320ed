"""The authorization code grant (RFC 6749, section 4.1) with PKCE (RFC 7636): what is sent where, as
pure functions of what a driver describes.

No OAuth library: the well-kept ones (Authlib, oauthlib) either make the requests themselves, which
must go through `egress`, or know neither a client that presents itself in JSON nor scopes between
commas. What would be left of them is the SHA-256 below.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from drivers.describe import Fetch, OAuth, Token
from gateway.driver_setup import OAuthClient
from gateway.models import Installation
from gateway.security import RandomBytes, random_text
from schemas import codec
from schemas.errors import BadRequestError

PURPOSE = "oauth"  # what the vault derives the keys for
STATE_SECONDS = 3600
NONCE_CHARACTERS = 22  # of 62 each: 130 bits
ROUND = "authorizations"  # in Installation.info: how many states were used up

_STATE = re.compile(
    r"(?P<signed>(?P<id>[0-9a-z]{26})\.(?P<round>[0-9]{1,9})\.(?P<expires>[0-9]{1,12})"
    r"\.[0-9A-Za-z]{22})\.(?P<signature>[0-9a-f]{64})"
)
_REFUSED = "this authorization was not begun here, or not by this URL: begin it again"


@dataclass(frozen=True, slots=True)
class State:
    """What one `state` stands for. `verifier`: PKCE's, known to nobody else. `round`: it is good
    for as long as its installation has used up that many.
    """

    text: str
    installation_id: str
    round: int
    verifier: str


class States:
    """Makes and reads states: signed, bound to one installation, good once and for an hour.

    Nothing is kept of those given out, so a URL can be shown at any time by any process; using one
    up is a write to the installation, which only one process can win. `keys`: newest first, the
    first signs. `now`: microseconds.
    """

    def __init__(self, keys: Sequence[bytes], now: Callable[[], int], random: RandomBytes) -> None:
        self._keys, self._now, self._random = tuple(keys), now, random

    def __repr__(self) -> str:
        return "States()"

    def new(self, installation: Installation) -> State:
        """A fresh state, good for an hour."""
        expires = self._now() // 1_000_000 + STATE_SECONDS
        nonce = random_text(self._random, NONCE_CHARACTERS)
        used = used_up(installation)
        signed = f"{installation.id}.{used}.{expires}.{nonce}"
        key = self._keys[0]
        text = f"{signed}.{_mac(key, 'state', signed).hex()}"
        return State(text, installation.id, used, _verifier(key, signed))

    def read(self, text: str) -> State:
        """The state that came back. Raises BadRequestError unless it is ours and still good."""
        found = _STATE.fullmatch(text)
        signed, given = (found["signed"], found["signature"]) if found else ("", "")
        for key in self._keys:
            if found and hmac.compare_digest(_mac(key, "state", signed).hex(), given):
                if int(found["expires"]) <= self._now() // 1_000_000:
                    raise BadRequestError(
                        "this authorization took too long: begin it again", code="state_expired"
                    )
                return State(text, found["id"], int(found["round"]), _verifier(key, signed))
        raise BadRequestError(_REFUSED, code="invalid_state")


def used_up(installation: Installation) -> int:
    """How many states of an installation were used up."""
    return int(installation.info.get(ROUND, 0))


def _mac(key: bytes, use: str, signed: str) -> bytes:
    return hmac.new(key, f"{use}:{signed}".encode(), hashlib.sha256).digest()


def _verifier(key: bytes, signed: str) -> str:
    """43 characters that the state does not tell."""
    return _base64url(_mac(key, "pkce", signed))


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def challenge(verifier: str) -> str:
    """PKCE's `code_challenge` by S256 (RFC 7636, section 4.2)."""
    return _base64url(hashlib.sha256(verifier.encode()).digest())


def callback_url(slug: str, base_url: str) -> str:
    """Where a driver's provider sends owners back to."""
    return f"{base_url}/oauth/{slug}/callback"


def place(oauth: OAuth, url: str, settings: Mapping[str, Any]) -> str | None:
    """A described URL for one installation; None when its settings name no shop."""
    if "{shop}" not in url:
        return url
    shop = oauth.shop(settings) if oauth.shop else None
    return url.replace("{shop}", shop) if shop else None


def authorization_url(
    oauth: OAuth, page: str, client: OAuthClient, callback: str, state: State
) -> str:
    """Where the installation's owner grants access. `page`: the provider's. `callback`: ours."""
    query = {"response_type": "code", "client_id": client.client_id}
    if oauth.redirect_uri != "never":
        query["redirect_uri"] = callback
    if oauth.scopes:
        query["scope"] = oauth.scope_separator.join(oauth.scopes)
    query |= {"state": state.text, **oauth.authorize_params}
    if oauth.pkce:
        query |= {"code_challenge": challenge(state.verifier), "code_challenge_method": "S256"}
    query = {oauth.authorize_names.get(name, name): value for name, value in query.items()}
    return f"{page}{'&' if '?' in page else '?'}{urlencode(query)}"


def code_request(
    oauth: OAuth, url: str, client: OAuthClient, *, callback: str, state: State, code: str
) -> Fetch:
    """Turns a code into a token."""
    form = {"grant_type": "authorization_code", "code": code}
    if oauth.redirect_uri == "always":
        form["redirect_uri"] = callback
    if oauth.pkce:
        form["code_verifier"] = state.verifier
    return _token_request(oauth, url, client, form | dict(oauth.token_params))


def refresh_request(oauth: OAuth, url: str, client: OAuthClient, refresh_token: str) -> Fetch:
    """Turns a refresh token into the next token."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return _token_request(oauth, url, client, form)


def _token_request(oauth: OAuth, url: str, client: OAuthClient, form: dict[str, str]) -> Fetch:
    headers = {"Accept": "application/json", **oauth.token_headers}
    if oauth.client_auth == "basic":
        pair = f"{client.client_id}:{client.client_secret}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    else:
        form |= {"client_id": client.client_id, "client_secret": client.client_secret}
    if oauth.client_auth == "json":
        headers["Content-Type"] = "application/json"
        body = codec.dumps(form)
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form).encode()
    return Fetch(name="token", url=url, method="POST", headers=headers, body=body)


def not_granted(oauth: OAuth, token: Token) -> tuple[str, ...]:
    """Scopes we asked for and did not get. An answer that names none granted them all (RFC 6749,
    section 5.1).
    """
    if token.scopes is None:
        return ()
    return tuple(scope for scope in oauth.scopes if scope not in token.scopes)
