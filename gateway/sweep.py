"""Reading a provider's list to its end: page by page, each item as the delivery it might have been.

A sweep can be left at any page and gone on with, by this process or another: where it stands is
plain data, and dedupe keys make an item that is read twice, or came by webhook, no second event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from drivers.base import Driver, Receipt, can_call, interpret
from drivers.describe import Fetch, Page, Poll
from drivers.redact import redact
from drivers.verify import restore
from gateway import log
from gateway.intake import Intake
from gateway.models import Installation
from gateway.provider_api import ApiError, ProviderApi, with_query
from schemas.errors import MalformedError, UnparsableError
from schemas.request import Grant, Inbound

MOST_PAGES = 100  # read in one go; then others have their turn
# What a list of an unknown shape may raise.
MISREAD = (MalformedError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class Listing:
    """One list of one installation."""

    driver: Driver
    installation: Installation
    poll: Poll


@dataclass(slots=True)
class Sweep:
    """Where a sweep stands. `cursor`: as `Poll.read` gave it last. `url`: of the next page; None
    when the list has been read to its end. `checked`: items read; `fresh`: those nobody had seen;
    `found`: events that they told first; `enriching`: those still to be completed.
    """

    cursor: Mapping[str, Any]
    url: str | None
    begun_at: int
    checked: int = 0
    fresh: int = 0
    found: int = 0
    enriching: int = 0
    found_ids: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)


MOST_FOUND_IDS = 50
# Keeps what a sweep came to; raises when the sweep is another's by now.
Keep = Callable[[Sweep], Awaitable[None]]


class Sweeper:
    """Runs sweeps."""

    def __init__(self, intake: Intake, api: ProviderApi) -> None:
        self._intake, self._api = intake, api

    async def run(
        self, listing: Listing, start: Fetch, sweep: Sweep, moment: datetime, keep: Keep
    ) -> None:
        """Read on from where `sweep` stands, until its end or for as many pages as one go may have.

        `start`: the request of its first page. Raises ApiError; what was read until then is kept.
        """
        poll = listing.poll
        for _ in range(MOST_PAGES):
            if sweep.url is None:
                return
            asked = replace(start, url=sweep.url, cursor={})
            answer = await self._api.ask(listing.driver, listing.installation, asked)
            try:
                page = poll.read(answer.body, sweep.cursor)
                following = _next(asked, page, answer.links if poll.links else "")
            except MISREAD as error:
                raise ApiError(f"{poll.name}: {type(error).__name__}: {error}") from error
            for item in page.items[:: -1 if poll.newest_first else 1]:
                await self._take(listing, item, moment, sweep)
            sweep.cursor, sweep.url = page.cursor, following
            await keep(sweep)

    async def _take(self, listing: Listing, item: Any, moment: datetime, sweep: Sweep) -> None:
        """One item, as the delivery it might have been."""
        driver, installation, poll = listing.driver, listing.installation, listing.poll
        try:
            inbound = poll.inbound(item, moment)
            receipt = _receipt(driver, installation, inbound)
        except (*MISREAD, UnparsableError) as error:
            log.get().error(
                "poll.unreadable", driver=driver.slug, name=poll.name, error=repr(error)
            )
            return
        told = await self._intake.take(installation, inbound, receipt)
        sweep.checked += 1
        if told.duplicate:
            return
        sweep.fresh += 1
        sweep.enriching += receipt.outcome == "enriching"
        first = [event.id for event in told.events if not event.duplicate]
        sweep.found += len(first)
        sweep.found_ids += first[: MOST_FOUND_IDS - len(sweep.found_ids)]


def _receipt(driver: Driver, installation: Installation, inbound: Inbound) -> Receipt:
    grant = Grant(credentials=installation.known_credentials, settings=installation.settings)
    verified = restore(inbound, installation.settings, driver.parse(inbound), {})
    body, headers = redact(inbound, verified.payload, (), driver.secret_fields)
    return interpret(driver, verified, has_api=can_call(driver, grant), body=body, headers=headers)


def _next(asked: Fetch, page: Page, links: str) -> str | None:
    """The next page's address: told whole, by the parameters that differ, or by a Link header, of
    which the host is not asked.
    """
    if page.next is not None:
        return page.next.url
    if page.more:
        return with_query(asked.url, page.more)
    linked = _linked(links)
    return urlunsplit(urlsplit(asked.url)._replace(query=linked)) if linked else None


def _linked(links: str) -> str:
    """The query of the address that a Link header names `next`.

    https://www.rfc-editor.org/rfc/rfc8288
    """
    for link in links.split(","):
        target, _, more = link.strip().partition(">")
        if target.startswith("<") and 'rel="next"' in more.replace("rel=next", 'rel="next"'):
            return urlsplit(target[1:]).query
    return ""
