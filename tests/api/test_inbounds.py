"""`/processing/webhooks`: what providers sent, and reading it again."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway import samples
from tests.api.rig import Api, eventually
from tests.api.shop import SECRET, Shop, opened
from tests.sinks.receiver import Receiver, until


@pytest.fixture
async def shop(api: Api) -> Shop:
    return await opened(api)


async def quarantined(shop: Shop, number: int) -> str:
    """A delivery without what the driver must know; the id of its inbound."""
    answer = await shop.sends("missing_transaction", id=f"odd-{number}")
    assert answer.body["quarantined"] is True
    return str(answer.body["inbound_id"])


async def mended(api: Api, ident: str, transaction: str) -> None:
    """As if the driver understood it by now: the stored body says what was missing."""
    body = json.loads(samples.load("hotmart/purchase_approved").body)
    body["data"]["purchase"]["transaction"] = transaction
    await api.services.store.database.write(
        "UPDATE inbounds SET body = $1 WHERE id = $2", json.dumps(body).encode(), ident
    )


async def test_a_delivery_is_kept_without_its_secrets(api: Api, shop: Shop) -> None:
    answer = await shop.sends(query="?a=1&a=2&token=abc&signature=def")
    (item,) = (await api.get("/processing/webhooks")).body["data"]
    detail = (await api.get(f"/processing/webhooks/{item['id']}")).data

    assert detail == item
    assert item["id"] == answer.body["inbound_id"]
    assert item["outcome"] == "accepted"
    assert item["reason"] is None
    assert item["driver"] == "hotmart"
    assert item["instance"] == "loja"
    assert item["installation_id"] == shop.installation["id"]
    assert item["method"] == "POST"
    assert item["query"] == {"a": "1, 2", "token": "[redacted]", "signature": "def"}
    assert item["headers"]["x-hotmart-hottok"] == "[redacted]"
    assert item["headers"]["content-type"] == "application/json"
    assert json.loads(item["body"])["event"] == "PURCHASE_APPROVED"
    assert item["body_encoding"] == "text"
    assert SECRET not in str(item)
    events = [{"id": e["id"], "name": e["event"]} for e in answer.body["events"]]
    assert [{k: e[k] for k in ("id", "name")} for e in item["events"]] == events
    event = (await api.get(f"/processing/events/{events[0]['id']}")).data
    assert event["inbound_id"] == item["id"]


async def test_a_secret_in_the_url_is_not_kept(api: Api) -> None:
    made = await api.install("bagy", credentials={"secret": "in-the-url"})
    path = urlsplit(made["ingest_url"]).path.removeprefix("/gw")
    body = samples.load("bagy/order_paid_card").body
    url = f"{api.url}{path}?token=in-the-url&s=in-the-url"
    async with api.session.post(
        url, data=body, headers={"Content-Type": "application/json"}
    ) as got:
        assert got.status == 200, await got.text()

    database = api.services.store.database
    ((query, headers, kept),) = await database.fetch("SELECT query, headers, body FROM inbounds")
    assert b"in-the-url" not in query + headers + kept
    (item,) = (await api.get("/processing/webhooks")).data
    assert item["query"] == {"token": "[redacted]", "s": "[redacted]"}


async def test_a_list_cuts_long_bodies_and_one_is_whole(api: Api, shop: Shop) -> None:
    ident = (await shop.sends()).body["inbound_id"]
    long = ('{"x":"' + "é" * 5000 + '"}').encode()
    await api.services.store.database.write(
        "UPDATE inbounds SET body = $1 WHERE id = $2", long, ident
    )
    (item,) = (await api.get("/processing/webhooks")).data
    detail = (await api.get(f"/processing/webhooks/{ident}")).data

    assert item["body_truncated"] is True
    assert item["body"] == long[:4096].decode()
    assert item["body_size"] == len(long)
    assert detail["body"] == long.decode()
    assert detail["body_truncated"] is False
    odd = b"x" + long
    await api.services.store.database.write("UPDATE inbounds SET body = $1", odd)
    assert (await api.get("/processing/webhooks")).data[0]["body"] == odd[:4095].decode()


async def test_what_is_no_text_is_base64(api: Api, shop: Shop) -> None:
    ident = (await shop.sends()).body["inbound_id"]
    await api.services.store.database.write("UPDATE inbounds SET body = $1", b"\xff\xfe\x00")
    detail = (await api.get(f"/processing/webhooks/{ident}")).data

    assert (detail["body"], detail["body_encoding"]) == ("//4A", "base64")


async def test_filters_and_cursors(api: Api, shop: Shop) -> None:
    good = (await shop.sends()).body["inbound_id"]
    odd = await quarantined(shop, 1)
    ignored = (await shop.sends("club_first_access")).body["inbound_id"]

    async def chosen(query: str = "") -> list[str]:
        return [i["id"] for i in (await api.get(f"/processing/webhooks?{query}")).data]

    assert await chosen() == [ignored, odd, good]
    assert await chosen("filter[outcome]=quarantined") == [odd]
    assert await chosen("filter[status]=quarantined") == [odd]
    assert await chosen("filter[driver]=kiwify") == []
    assert await chosen("filter[instance]=loja&limit=1") == [ignored]
    page = await api.get("/processing/webhooks?limit=2")
    assert await chosen(f"cursor={page.body['meta']['next_cursor']}") == [good]
    for query, path in (("cursor=1", "cursor"), ("filter[outcome]=lost", "filter[outcome]")):
        assert set((await api.get(f"/processing/webhooks?{query}")).faults) == {path}


async def test_quarantine_says_why(api: Api, shop: Shop) -> None:
    ident = await quarantined(shop, 1)
    detail = (await api.get(f"/processing/webhooks/{ident}")).data

    assert detail["outcome"] == "quarantined"
    assert "transaction" in detail["reason"]
    assert detail["events"] == []
    await api.services.drift.flush()
    (sign,) = (await api.get("/drivers/hotmart/drift")).data
    assert sign["example_inbound_id"] == ident


async def test_a_delivery_is_read_again(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url)
    ident = await quarantined(shop, 1)
    path = f"/processing/webhooks/{ident}"
    still = await api.post(f"{path}/renormalize")
    assert still.status == 202
    assert still.data["outcome"] == "quarantined"

    await mended(api, ident, "HP1")
    again = await api.post(f"{path}/renormalize")
    assert again.data["outcome"] == "accepted"
    assert again.data["reason"] is None
    (event,) = again.data["events"]
    await until(lambda: len(receiver.got) == 1)
    assert receiver.got[0].headers["webhook-id"] == event["id"]

    twice = (await api.post(f"{path}/renormalize")).data
    assert twice["events"] == [event], "a fact that was told is not told again"
    await shop.dispatch(event["id"], "succeeded")
    assert len(receiver.got) == 1


async def test_what_has_no_installation_any_more_cannot_be_read_again(api: Api, shop: Shop) -> None:
    ident = await quarantined(shop, 1)
    await api.delete(f"/installations/{shop.installation['id']}")
    answer = await api.post(f"/processing/webhooks/{ident}/renormalize")

    assert answer.status == 409
    assert "gone" in answer.body["message"]


async def test_many_are_read_again(api: Api, shop: Shop) -> None:
    odd = [await quarantined(shop, number) for number in range(60)]
    other = await quarantined(await opened(api, "outra"), 1)
    for number, ident in enumerate((*odd, other)):
        await mended(api, ident, f"HP{number}")
    wish = {"driver": "hotmart", "instance": "loja", "from": "2020-01-01T00:00:00Z"}
    answer = await api.post("/processing/renormalize", wish)

    assert answer.status == 202
    assert answer.data["matched"] == 60

    async def ended() -> Any:
        found = (await api.get(f"/processing/replays/{answer.data['id']}")).data
        return found if found["status"] == "done" else None

    told = await eventually(ended)
    assert (told["type"], told["done"], told["failed"]) == ("inbounds", 60, 0)
    left = (await api.get("/processing/webhooks?filter[outcome]=quarantined")).data
    assert [i["id"] for i in left] == [other]


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ({}, "driver"),
        ({"driver": "nobody"}, "driver"),
        ({"driver": "hotmart", "from": "soon"}, "from"),
        ({"driver": "hotmart", "outcome": "duplicate"}, "outcome"),
        ({"driver": "hotmart", "since": "2024-01-01"}, "since"),
    ],
)
async def test_bulk_is_checked(api: Api, wish: Any, path: str) -> None:
    assert path in (await api.post("/processing/renormalize", wish)).faults


async def test_each_sees_its_own(api: Api, shop: Shop) -> None:
    ours = (await shop.sends()).body["inbound_id"]
    theirs = (await (await opened(api, "outra")).sends()).body["inbound_id"]
    limited = await api.limited("EVENTS_READ", "EVENTS_REPLAY", instance="loja")
    reader = await api.limited("EVENTS_READ")

    assert [i["id"] for i in (await limited.get("/processing/webhooks")).data] == [ours]
    for path in (f"/processing/webhooks/{theirs}", "/processing/webhooks/nobody"):
        assert (await limited.get(path)).status == 404
        assert (await limited.post(path + "/renormalize")).status == 404
    assert (await reader.post(f"/processing/webhooks/{ours}/renormalize")).status == 403
    assert (await reader.post("/processing/renormalize", {"driver": "hotmart"})).status == 403
    wish = {"driver": "hotmart", "instance": "outra"}
    assert (await limited.post("/processing/renormalize", wish)).status == 403
    within = {"driver": "hotmart", "outcome": "all"}
    assert (await limited.post("/processing/renormalize", within)).data["matched"] == 1
