"""A person is erased from everything stored, and nobody else is."""

import json
from typing import Any

import pytest
from aiohttp import web

from gateway import samples
from gateway.models import ApiKey
from gateway.security import digest
from tests.api.rig import Api, eventually
from tests.api.shop import SECRET, Shop, opened
from tests.sinks.receiver import Receiver

SAMPLE = json.loads(samples.load("hotmart/purchase_approved").body)
EMAIL = "ana.souza+loja@example.com"
CPF = "529.982.247-25"


async def order(shop: Shop, number: int, email: str, document: str = "11144477735") -> str:
    """A paid order of somebody."""
    body = json.loads(json.dumps(SAMPLE))
    body["id"], body["data"]["purchase"]["transaction"] = f"d-{number}", f"HP{number:08}"
    body["data"]["buyer"] |= {"email": email, "document": document, "name": "Ana Souza"}
    headers = {"X-Hotmart-Hottok": SECRET, "Content-Type": "application/json"}
    url = shop.api.url + shop.path
    async with shop.api.session.post(url, json=body, headers=headers) as got:
        assert got.status == 200
        return str((await got.json())["events"][0]["id"])


async def everything(api: Api) -> str:
    """All that is stored, as text."""
    told = ""
    for table in ("events", "inbounds", "attempts", "deliveries", "jobs", "audit"):
        for row in await api.services.store.database.fetch(f"SELECT * FROM {table}"):
            told += " ".join(
                bytes(v).decode(errors="replace") if isinstance(v, bytes) else str(v) for v in row
            )
    return told.lower()


async def erased(api: Api, **who: str) -> Any:
    return (await api.post("/privacy/erase", who)).data


async def by_email(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda got: web.Response(body=got.body[:4000])  # it repeats what it was sent
    shop = await opened(api, url=receiver.url)
    hers = [await order(shop, n, EMAIL) for n in range(2)]
    his = await order(shop, 9, "bia@example.com")
    for event in (*hers, his):
        await shop.dispatch(event, "succeeded")
    assert EMAIL in await everything(api)
    total = (await api.get(f"/processing/events/{hers[0]}")).data["data"]["order"]["total"]

    done = await erased(api, email="  Ana.Souza+Loja@Example.com ")
    again = await erased(api, email=EMAIL)

    assert done == {"events": 2, "inbounds": 2, "attempts": 2, "deliveries_canceled": 0}
    assert again == dict.fromkeys(done, 0)
    left = await everything(api)
    assert EMAIL not in left
    assert "ana souza" in left, "the other's order has the same name"
    kept = (await api.get(f"/processing/events/{hers[0]}")).data
    assert kept["data"]["customer"] is None
    assert kept["data"]["order"]["total"] == total
    assert (await api.get(f"/processing/events/{his}")).data["data"]["customer"]["email"]
    dispatch = await shop.dispatch(hers[0], "succeeded")
    assert (await api.get(f"/processing/dispatches/{dispatch['id']}")).status == 200
    inbound = (await api.get(f"/processing/webhooks/{kept['inbound_id']}")).data
    assert inbound["body"] in ("", None)
    assert "erased" in inbound["reason"]
    again_read = await api.post(f"/processing/webhooks/{kept['inbound_id']}/renormalize")
    assert again_read.status == 409
    entry = (await api.get("/audit")).data[0]
    assert (entry["action"], entry["fields"]) == ("POST /privacy/erase", ["email"])


async def test_by_email(api: Api, receiver: Receiver) -> None:
    await by_email(api, receiver)


async def test_by_email_on_postgres(api_on_postgres: Api, receiver: Receiver) -> None:
    await by_email(api_on_postgres, receiver)


async def test_a_redelivery_brings_nothing_back(api: Api) -> None:
    shop = await opened(api)
    event = await order(shop, 1, EMAIL)
    await erased(api, email=EMAIL)

    assert await order(shop, 1, EMAIL) == event
    assert EMAIL not in await everything(api)


@pytest.mark.parametrize("spelled", [CPF, "52998224725", "529982247-25"])
async def test_by_document_in_any_spelling(api: Api, spelled: str) -> None:
    shop = await opened(api)
    await order(shop, 1, "x@example.com", CPF)
    await order(shop, 2, "y@example.com", "52998224725")
    await order(shop, 3, "z@example.com", "152998224725")  # a longer number is another

    assert (await erased(api, document=spelled))["events"] == 2
    left = await everything(api)
    assert "x@example.com" not in left
    assert "y@example.com" not in left
    assert "z@example.com" in left


async def test_what_became_no_event_goes_as_well(api: Api) -> None:
    """In quarantine, as a form, with escapes."""
    await api.install("kiwify", credentials={"secret": "s3cret-of-loja"})
    odd = [
        b'{"customer": {"email": "ana.souza\\u002bloja\\u0040example.com"}}',
        f"email={EMAIL.replace('+', '%2B').replace('@', '%40')}&a=1".encode(),
    ]
    database, now = api.services.store.database, api.services.now()
    for number, body in enumerate(odd):
        await database.write(
            "INSERT INTO inbounds (id, tenant, instance, driver, received_at, method, query,"
            " headers, body, outcome, delivery_key, events) VALUES"
            " ($1, 'default', 'loja', 'kiwify', $2, 'POST', $3, $4, $5, 'quarantined', 'k', '[]')"
            " RETURNING id",
            f"01hm6y{number:020}",
            now,
            b"{}",
            b"{}",
            body,
        )

    assert (await erased(api, email=EMAIL))["inbounds"] == 2
    assert [bytes(b) for (b,) in await database.fetch("SELECT body FROM inbounds")] == [b"", b""]


async def test_what_waits_is_sent_without_the_person(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(status=503)
    shop = await opened(api, url=receiver.url, retry=[1, 1, 1, 1])
    event = await order(shop, 1, EMAIL)
    await eventually(lambda: _retrying(api))
    await erased(api, email=EMAIL)
    receiver.answer = lambda _: web.Response()
    await shop.dispatch(event, "succeeded")

    sent = json.loads(receiver.got[-1].body)
    assert sent["data"]["customer"] is None
    assert sent["data"]["order"]["total"]


async def _retrying(api: Api) -> Any:
    return (await api.get("/processing/dispatches?filter[status]=retrying")).data


async def test_another_tenant_and_another_instance_keep_theirs(api: Api) -> None:
    first, second = await opened(api, "loja-1"), await opened(api, "loja-2")
    await order(first, 1, EMAIL)
    await order(second, 2, EMAIL)
    stranger = ApiKey(
        id=api.services.ids(), tenant="other", name="x", digest=digest("x"), permissions=("*",)
    )
    await api.services.directory.save("api_key", stranger)
    limited = await api.limited("KEYS_MANAGE", instance="loja-1")

    assert (await erased(api.with_key("x"), email=EMAIL))["events"] == 0
    assert (await erased(limited, email=EMAIL))["events"] == 1
    assert (await erased(api, email=EMAIL))["events"] == 1


@pytest.mark.parametrize(
    "wish",
    [{}, {"email": ""}, {"email": "ana"}, {"email": "a@b" * 200}, {"document": "123"},
     {"document": "abcdefghij"}, {"document": "1" * 21}, {"email": 5}, {"name": "Ana"}],
)  # fmt: skip  # a table
async def test_who_is_meant_has_to_be_clear(api: Api, wish: Any) -> None:
    assert (await api.post("/privacy/erase", wish)).faults
