"""Whether and how an installation's webhooks can be registered at its provider."""

from __future__ import annotations

from dataclasses import dataclass

from drivers import BY_SLUG
from drivers.describe import Webhooks
from gateway.models import Installation
from gateway.security import digest
from schemas.target import InvalidTargetError, check_url

STATE = "subscription"  # in Installation.info: what came of it, as `Subscribed` has it


@dataclass(frozen=True, slots=True)
class Subscribed:
    """`state`: `active`, `pending`, `failed` (it is tried again), `manual` (somebody has to do it
    at the provider) or `off`. `error`: why it failed, or in part; why it is manual.
    """

    state: str
    url: str | None = None
    topics: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    error: str | None = None


def webhooks_of(one: Installation) -> Webhooks | None:
    """How its driver registers webhooks; None where that is done by hand."""
    driver = BY_SLUG.get(one.driver)
    return driver.api.webhooks if driver and driver.api else None


def has_credentials(one: Installation) -> bool:
    """Whether all is known that the provider's API asks for."""
    driver = BY_SLUG.get(one.driver)
    known = one.known_credentials
    return bool(driver and driver.api and all(known.get(n) for n in driver.api.credentials))


def hindrance(one: Installation, base_url: str) -> str | None:
    """Why nothing can be registered for it, None when it can."""
    driver = BY_SLUG.get(one.driver)
    if driver is None or webhooks_of(one) is None:
        name = driver.name if driver else one.driver
        return f"{name} takes webhooks by hand only: give it the ingest URL"
    if not has_credentials(one):
        return f"without its API credentials, {driver.name} has to be given the ingest URL by hand"
    # An installation whose API is at an address of its own is taken to know who reaches whom.
    if not one.settings.get("api_base_url"):
        try:
            check_url(base_url, require_https=True)
        except InvalidTargetError as error:
            return f"COMPORTA_PUBLIC_URL cannot be reached from outside: {error.message}"
    return None


def wants(one: Installation, base_url: str) -> bool:
    """Whether webhooks should be registered now."""
    return (
        one.status == "active"
        and one.settings.get("subscribe") is not False
        and hindrance(one, base_url) is None
    )


def is_ours(url: str, one: Installation) -> bool:
    """Whether an address is an ingest URL of this installation, old or new, at whatever host."""
    path, _, token = url.partition("?")[0].rpartition("/")
    return path.endswith(f"/hooks/{one.driver}") and digest(token) in {t for t, _ in one.tokens}


def told(one: Installation, base_url: str) -> Subscribed:
    """How it stands."""
    known = one.info.get(STATE)
    if known:
        return Subscribed(
            state=known["state"],
            url=known.get("url"),
            topics=tuple(known.get("topics", ())),
            ids=tuple(known.get("ids", ())),
            error=known.get("error"),
        )
    if one.settings.get("subscribe") is False or one.status != "active":
        return Subscribed(state="off")
    why = hindrance(one, base_url)
    return Subscribed(state="manual", error=why) if why else Subscribed(state="pending")
