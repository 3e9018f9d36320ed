"""Eduzz's API: how an account lets us in, and how we ask whether it still does.

Of the Developer Hub: https://developers.eduzz.com/docs/api/user-token and
https://developers.eduzz.com/reference/auth/post-oauth-token tell both addresses, the names of the
parameters, the answer, and the call that tries a token. They do not tell whether `state` comes
back (RFC 6749 wants it), nor of PKCE, which is not sent, nor a limit: 30 calls a minute are what
others found. Nor of the client credentials grant, by which an application gets a token for the
account it belongs to: programs that are in use get theirs so, with a form as RFC 6749 has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from drivers.describe import OAUTH_SETTINGS, Api, Fetch, OAuth, Token, bearer, granted
from drivers.read import dig, text

URL = "https://api.eduzz.com"
TOKEN_URL = "https://accounts-api.eduzz.com/oauth/token"  # noqa: S105 - an address

# Most installations have a webhook key alone, so that nothing of OAuth may be demanded of them.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    **OAUTH_SETTINGS,
    "oauth_settings.redirect_url": {"required": False, "type": "url"},
}


def read_token(answer: Any, now: datetime) -> Token:
    """The token, which ends never (`expires_in` 0), and whose account it is of."""
    account = text(dig(answer, "user", "eduzzId"))
    token = granted(answer, now)
    return replace(token, extra={"account": account}) if account else token


def _login(credentials: Mapping[str, str]) -> Fetch:
    form = {"grant_type": "client_credentials"} | {
        name: credentials[name] for name in ("client_id", "client_secret")
    }
    return Fetch(
        name="token",
        method="POST",
        url=TOKEN_URL,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
    )


API = Api(
    base_url=URL,
    credentials=("access_token",),
    login_with=("client_id", "client_secret"),
    login=_login,
    login_refused=(400, 404, 422),  # 404: there is no such application
    token=granted,
    authorize=bearer,
    per_minute=30,
    # https://developers.eduzz.com/reference/api/get-accounts-v1-me
    probe=lambda _settings: Fetch(name="account", url=f"{URL}/accounts/v1/me"),
)
OAUTH = OAuth(
    authorize_url="https://accounts.eduzz.com/oauth/authorize",
    token_url=TOKEN_URL,
    authorize_names={"response_type": "responseType", "redirect_uri": "redirectTo"},
    client_auth="json",
    client_signs=False,  # a key of the webhook panel does
    read_token=read_token,
)
