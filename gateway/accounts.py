"""What keeps installations authorised at their providers, wired together."""

from __future__ import annotations

import os
from typing import NamedTuple

from gateway.intake import Intake
from gateway.oauth import PURPOSE, States
from gateway.oauth_flow import OAuthFlow
from gateway.oauth_refresh import Refreshes
from gateway.parts import Parts
from gateway.standing import Standing
from gateway.token_endpoint import TokenEndpoint
from schemas.target import AllowList
from sinks.base import Http


class Accounts(NamedTuple):
    """Its parts, by the names they have in `Services`."""

    oauth: OAuthFlow
    refreshes: Refreshes
    standing: Standing


def open_accounts(parts: Parts, intake: Intake, http: Http) -> Accounts:
    """Every part, over an open store."""
    settings, directory, now = parts.settings, parts.directory, parts.now
    states = States(parts.keys.vault.derived(PURPOSE), now, os.urandom)
    endpoint = TokenEndpoint(http, AllowList.parse(settings.allow_targets), now)
    standing = Standing(directory, intake, parts.ids, now)
    refreshes = Refreshes(parts, endpoint, standing)
    flow = OAuthFlow(parts, states, endpoint, standing)
    return Accounts(flow, refreshes, standing)
