"""Keeping tokens alive: renewed before they end, told when they are lost."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from drivers import BY_SLUG
from drivers.describe import Fetch
from gateway.oauth_refresh import Held
from gateway.provider_api import ApiError
from tests.api.owner import Owner
from tests.api.rig import Api, eventually
from tests.provider_apis.oauth import Stripe, authority

SECOND = 1_000_000
ORDER = Fetch(name="order", url="https://api.bling.com.br/Api/v3/pedidos/vendas/1")


async def authorised(owner: Owner, *lifetimes: float) -> Any:
    """An active installation whose first tokens last so many seconds."""
    owner.provider.short = list(lifetimes)
    made = await owner.authorises(await owner.installs())
    assert made["status"] == "active"
    return made


async def ends(owner: Owner, made: Any, **more: Any) -> None:
    """As if its token ended now."""
    one = owner.stored(made)
    oauth = one.oauth | {"expires_at": owner.api.services.now()} | more
    await owner.api.services.directory.save("installation", one.model_copy(update={"oauth": oauth}))


def token_of(owner: Owner, made: Any) -> str:
    return str(owner.stored(made).oauth.get("access_token", ""))


async def in_error(owner: Owner, made: Any) -> Any:
    async def look() -> Any:
        shown = await owner.looks_at(made)
        return shown if shown["status"] == "error" else None

    return await eventually(look)


async def told(owner: Owner, count: int) -> list[Any]:
    """The events, once there are that many."""

    async def look() -> list[Any]:
        events = await owner.events()
        return events if len(events) >= count else []

    return await eventually(look)


async def call(owner: Owner, made: Any) -> Any:
    """Ask the provider's API."""
    services = owner.api.services
    return await services.provider_api.call(BY_SLUG["bling"], owner.stored(made), ORDER)


async def test_a_token_is_renewed_before_it_ends_and_so_is_the_next(owner: Owner) -> None:
    made = await authorised(owner, 1, 1)
    first = token_of(owner, made)

    async def renewed_twice() -> bool:
        return len(owner.provider.refreshed) >= 2

    await eventually(renewed_twice)
    assert token_of(owner, made) != first
    used = owner.provider.refreshed
    assert len(set(used)) == len(used)  # the one that came last, each time
    assert (await owner.looks_at(made))["status"] == "active"


@pytest.mark.parametrize(
    ("lifetime", "ahead"), [(21_600, 300), (3600, 300), (1500, 300), (1000, 200), (10, 2), (0, 0)]
)
def test_it_is_due_five_minutes_ahead_or_a_fifth(lifetime: int, ahead: int) -> None:
    held = Held("access", "refresh", obtained=SECOND, ends=(1 + lifetime) * SECOND)
    without = Held("access", None, obtained=SECOND, ends=(1 + lifetime) * SECOND)

    assert held.due == held.ends - ahead * SECOND
    assert without.due == without.ends


async def test_a_provider_that_is_busy_is_asked_again_when_it_says(owner: Owner) -> None:
    made = await authorised(owner)
    first = token_of(owner, made)
    owner.provider.busy = 1
    await ends(owner, made)

    async def renewed() -> bool:
        return token_of(owner, made) != first

    await eventually(renewed)
    assert owner.provider.busy == 0
    assert len(owner.provider.refreshed) == 1


async def test_a_refused_refresh_is_an_error_that_is_told(owner: Owner) -> None:
    made = await authorised(owner)
    owner.provider.refresh.clear()
    await ends(owner, made)
    shown = await in_error(owner, made)

    assert "refused to renew" in shown["reason"]
    assert "invalid_grant" in shown["reason"]
    assert shown["auth_url"]
    assert owner.stored(made).oauth == {}
    assert (await told(owner, 4))[2:] == [
        ("installation.updated", "error", "oauth.refused"),
        ("connection.update", "error", "oauth.refused"),
    ]
    assert (await owner.authorises(shown))["status"] == "active"


async def test_a_token_that_cannot_be_renewed_ends(owner: Owner) -> None:
    made = await authorised(owner)
    await ends(owner, made, refresh_token=None)
    shown = await in_error(owner, made)

    assert shown["reason"] == "the access token has ended: authorise again"
    assert owner.provider.refreshed == []


async def test_one_that_is_switched_off_keeps_its_token(owner: Owner) -> None:
    made = await authorised(owner)
    first = token_of(owner, made)
    await owner.api.post(f"/installations/{made['id']}/disable")
    await ends(owner, made)

    async def renewed() -> bool:
        return token_of(owner, made) != first

    await eventually(renewed)
    assert (await owner.looks_at(made))["status"] == "disabled"


class TestCalls:
    """What the API's answers do to a token."""

    async def test_a_refused_token_is_renewed_once(self, owner: Owner) -> None:
        owner.provider.api[urlsplit(ORDER.url).path] = {"data": {}}
        made = await authorised(owner)
        old = token_of(owner, made)
        del owner.provider.access[old]
        with pytest.raises(ApiError, match="being renewed"):
            await call(owner, made)

        async def renewed() -> bool:
            return token_of(owner, made) != old

        await eventually(renewed)
        assert await call(owner, made) == {"data": {}}
        assert (await owner.looks_at(made))["status"] == "active"

    async def test_a_call_that_began_with_the_old_token_uses_the_new(self, owner: Owner) -> None:
        owner.provider.api[urlsplit(ORDER.url).path] = {"data": {}}
        made = await authorised(owner)
        services, before = owner.api.services, owner.stored(made)
        fresh = (await authorised(owner))["id"]
        other = services.directory.installation(fresh)
        assert other
        await services.directory.save(
            "installation", before.model_copy(update={"oauth": other.oauth})
        )

        assert await services.refreshes.ready(before) == owner.stored(made)
        assert await services.refreshes.renewed(before) == owner.stored(made)

    async def test_access_that_was_taken_back_is_an_error(self, owner: Owner) -> None:
        made = await authorised(owner)
        owner.provider.revoke()
        with pytest.raises(ApiError, match="being renewed"):
            await call(owner, made)
        shown = await in_error(owner, made)

        assert "refused to renew" in shown["reason"]
        assert shown["auth_url"]
        assert len(await told(owner, 4)) == 4
        with pytest.raises(ApiError, match="has no access_token any more"):
            await call(owner, made)

    async def test_a_provider_that_refuses_its_newest_token(self, owner: Owner) -> None:
        """It renews, and refuses what it gave: another one would not help."""
        made = await authorised(owner)
        old = token_of(owner, made)
        owner.provider.access.clear()
        with pytest.raises(ApiError, match="being renewed"):
            await call(owner, made)

        async def renewed() -> bool:
            return token_of(owner, made) != old

        await eventually(renewed)
        owner.provider.access.clear()
        with pytest.raises(ApiError) as raised:
            await call(owner, made)
        assert raised.value.unauthorized
        shown = await in_error(owner, made)
        assert shown["reason"].startswith("the provider refuses the credentials: order")
        assert len(owner.provider.refreshed) == 1

    async def test_nothing_is_asked_with_a_token_that_has_ended(self, owner: Owner) -> None:
        made = await authorised(owner)
        owner.provider.gate.clear()  # it does not get a new one
        await ends(owner, made)
        with pytest.raises(ApiError, match="has ended"):
            await call(owner, made)

        assert urlsplit(ORDER.url).path not in [path for path, _ in owner.provider.called]
        owner.provider.gate.set()


async def test_a_token_without_an_end_that_is_refused(api: Api) -> None:
    async with authority(Stripe, lifetime=None) as provider:
        owner = Owner(api, provider, "stripe")
        await owner.configures()
        made = await authorised(owner)
        old = token_of(owner, made)
        account = Fetch(name="account", url="https://api.stripe.com/v1/account")
        provider.api["/v1/account"] = {"id": "acct_1"}
        del provider.access[old]
        with pytest.raises(ApiError, match="being renewed"):
            await api.services.provider_api.call(BY_SLUG["stripe"], owner.stored(made), account)

        async def renewed() -> bool:
            return token_of(owner, made) != old

        await eventually(renewed)
        assert len(provider.refreshed) == 1
