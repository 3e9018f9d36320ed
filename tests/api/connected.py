"""Installations that are connected to a provider's API on the loopback."""

from typing import Any

from drivers import BY_SLUG
from drivers.claim import Draft
from schemas import codec
from tests.api.rig import Answer, Api, eventually
from tests.provider_apis import bling, cakto, irroba, pagarme, shopify, stripe, woocommerce
from tests.provider_apis.server import ProviderApi

SECRET = "signing-secret-1"
PAIR = {"consumer_key": woocommerce.KEY, "consumer_secret": woocommerce.SECRET}
CREDENTIALS: dict[str, dict[str, str]] = {
    "bling": {"access_token": bling.TOKEN, "secret": SECRET},
    "irroba": {"username": irroba.USER, "password": irroba.PASSWORD},
    "shopify": {"access_token": shopify.TOKEN, "secret": SECRET},
    "woocommerce": {**PAIR, "secret": SECRET},
    "stripe": {"access_token": stripe.KEY, "secret": SECRET},
    "pagarme": {"secret_key": pagarme.KEY, "secret": "user:password"},
    "cakto": {**cakto.CLIENT, "secret": SECRET},
}


async def connect(api: Api, driver: str, provider: ProviderApi, **settings: Any) -> Any:
    """An installation of the driver, whose credentials were proven and whose lists were read once;
    then it is polled only when asked to, and registers webhooks only where `subscribe` says so. The
    provider forgets that it was asked.
    """
    ours = {"api_base_url": provider.url, "poll_interval": 500, "subscribe": False}
    ours |= {"shop": shopify.SHOP} if driver == "shopify" else {}
    made = await api.install(
        driver, settings=ours | settings, credentials=CREDENTIALS[driver], instance="loja"
    )

    async def read() -> bool:
        lists = (await shown(api, made))["polls"]
        wanted = [p for p in BY_SLUG[driver].polls if not (p.since and off)]
        return len(lists) >= len(wanted) and all(one["last_swept_at"] for one in lists)

    off = settings.get("reconcile_interval") == 0
    await eventually(read)
    provider.asked.clear()
    provider.statuses.clear()
    return made


async def events(api: Api, installation: Any) -> list[tuple[str, str]]:
    """Name and key of every event of an installation, sorted."""
    found: list[Any] = []
    path = f"/processing/events?limit=100&filter[installation_id]={installation['id']}"
    cursor: str | None = ""
    while cursor is not None:
        answer = await api.get(path + (f"&cursor={cursor}" if cursor else ""))
        found += answer.data
        cursor = answer.body["meta"]["next_cursor"]
    return sorted((one["name"], one["key"]) for one in found)


async def come(api: Api, installation: Any, *wanted: tuple[str, str]) -> None:
    """Wait until exactly these events are there."""

    async def look() -> bool:
        return await events(api, installation) == sorted(wanted)

    try:
        await eventually(look)
    except TimeoutError:
        assert await events(api, installation) == sorted(wanted)


async def polled(api: Api, installation: Any) -> Any:
    """Poll now, and wait until every list has been read to its end; gives the installation."""
    before = (await shown(api, installation))["polls"]
    answer = await api.post(f"/installations/{installation['id']}/poll")
    assert answer.status == 202, answer.body

    async def look() -> Any:
        now = await shown(api, installation)
        swept = {one["list"]: one["last_swept_at"] for one in before}
        lists = now["polls"]
        done = [one for one in lists if one["last_swept_at"] != swept.get(one["list"])]
        return now if lists and len(done) == len(lists) else None

    return await eventually(look)


async def shown(api: Api, installation: Any) -> Any:
    return (await api.get(f"/installations/{installation['id']}")).data


async def deliver(
    api: Api,
    installation: Any,
    body: Any,
    headers: dict[str, str] | None = None,
    secret: str | None = None,
) -> Answer:
    """A webhook of the provider, signed as it signs those with such headers."""
    driver = BY_SLUG[installation["driver"]["slug"]]
    draft = Draft(
        {"Content-Type": "application/json", **(headers or {})},
        {},
        codec.dumps(body),
        secret or CREDENTIALS[driver.slug].get("secret", ""),
        api.services.now() // 1_000_000,
    )
    driver.scheme.sign(draft)
    path = installation["ingest_url"].removeprefix("https://hooks.example.com/gw")
    answer = await api.with_key(None).call("POST", path, headers=draft.headers, data=draft.body)
    assert answer.status == 200, answer.body
    return answer


async def refused(api: Api, installation: Any, work: str) -> str:
    """Why an installation cannot do what it is asked for: poll, or reconcile."""
    answer = await api.post(f"/installations/{installation['id']}/{work}")
    assert answer.status == 409
    told: str = answer.body["message"]
    return told
