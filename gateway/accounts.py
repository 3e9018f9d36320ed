"""What keeps installations authorised at their providers, wired together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from gateway.bootstrap import Keys
from gateway.directory import Directory
from gateway.ids import Ulids
from gateway.intake import Intake
from gateway.oauth import PURPOSE, States
from gateway.oauth_flow import OAuthFlow
from gateway.oauth_refresh import Refreshes
from gateway.settings import Settings
from gateway.standing import Standing
from gateway.store.base import Store
from gateway.token_endpoint import TokenEndpoint
from schemas.target import AllowList
from sinks.base import Http


class Accounts(NamedTuple):
    """Its parts, by the names they have in `Services`."""

    oauth: OAuthFlow
    refreshes: Refreshes
    standing: Standing


def open_accounts(  # noqa: PLR0917 - parts of the one composition root
    settings: Settings,
    keys: Keys,
    store: Store,
    directory: Directory,
    intake: Intake,
    http: Http,
    ids: Ulids,
    now: Callable[[], int],
) -> Accounts:
    """Every part, over an open store. `now`: microseconds."""
    states = States(keys.vault.derived(PURPOSE), now, os.urandom)
    endpoint = TokenEndpoint(http, AllowList.parse(settings.allow_targets), now)
    standing = Standing(directory, intake, ids, now)
    refreshes = Refreshes(store, directory, endpoint, standing, ids, now)
    flow = OAuthFlow(directory, states, endpoint, standing, settings.base_url, now)
    return Accounts(flow, refreshes, standing)
