"""Forms are the API's own bodies: what is typed is stored, what is masked stays, what is refused is
told.
"""

import re
import shlex
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from multidict import MultiDict

from gateway.portal.fields import FIELDS, fields_of, number, read, shown
from schemas.errors import InvalidError
from schemas.sink_config import KINDS, MODELS, Kind
from tests.api.shop import opened
from tests.portal.visitor import Visitor
from tests.sinks.receiver import Receiver

TYPED: dict[Kind, dict[str, str]] = {
    "webhook": {
        "url": "https://shop.example/hooks",
        "headers": "X-Shop: 1\nAuthorization: Bearer abcdefghijklmnop",
        "retry": "5, 60.5",
        "gzip": "true",
    },
    "websocket": {"max_connections": "50"},
    "rabbitmq": {"uri": "amqps://user:pa55word@mq.example/v", "queue_type": "classic"},
    "sqs": {"queue_name": "orders", "region": "sa-east-1", "secret_access_key": "k" * 20},
    "nats": {"url": "nats://nats.example:4222", "jetstream": "true", "password": "p" * 20},
    "pusher": {"app_id": "1", "key": "k", "secret": "s" * 20, "cluster": "sa1", "use_tls": "true"},
}
VALUE = re.compile(r'name="(\w+)"[^>]*? value="([^"]*)"')


def test_forms_have_every_field_that_a_person_may_set() -> None:
    # Kept for programs: the key that configured the sink would be shown to its receivers.
    ours = {"id", "tenant", "instance", "name", "kind", "enabled", "events", "apikey"}
    ours |= {"disabled_reason", "created_at", "updated_at", "secrets", "include_apikey"}
    for kind in KINDS:
        known = {f.name for f in fields_of(kind)} - {"secret" if kind == "webhook" else ""}
        assert known == MODELS[kind].model_fields.keys() - ours, kind


@pytest.mark.parametrize("kind", KINDS)
async def test_a_sink_is_stored_as_typed_and_saved_again_unchanged(
    visitor: Visitor, kind: Kind
) -> None:
    place = f"/instances/loja/sinks/{kind}/default"
    token, form = await visitor.token(), {"enabled": "true", "all_events": "some"}

    saved = await visitor.post(place, token, events="ORDER_PAID", **form, **TYPED[kind])

    assert saved.status == 303, saved.refused
    first = (await visitor.api.get(f"/{kind}/find/loja")).body
    assert first["events"] == ["ORDER_PAID"]
    for name, text in TYPED[kind].items():
        if name not in {"headers", "retry", "gzip", "jetstream", "use_tls", "max_connections"}:
            assert first[name] == text or "********" in first[name], name
    page = await visitor.see(place)
    assert "pa55word" not in page.text
    assert "abcdefghijklmnop" not in page.text
    again = shown(first, fields_of(kind))
    typed = {n: v if isinstance(v, str) else "true" for n, v in again.items() if v}
    saved = await visitor.post(place, token, events="ORDER_PAID", **form, **typed)
    assert saved.status == 303, saved.refused
    second = (await visitor.api.get(f"/{kind}/find/loja")).body
    assert first | {"updatedAt": ""} == second | {"updatedAt": ""}


async def test_a_sink_is_switched_rotated_tried_and_removed(
    visitor: Visitor, receiver: Receiver
) -> None:
    place, token = "/instances/loja/sinks/webhook/default", await visitor.token()
    await visitor.post(place, token, enabled="true", all_events="all", url=receiver.url)
    seen = await visitor.see(place)
    assert "whsec_" in seen.text
    assert "whsec_" not in (await visitor.see(place)).text.replace('placeholder="whsec_', "")

    await visitor.post(f"{place}/disable", token)
    assert (await visitor.api.get("/webhook/find/loja")).body["enabled"] is False
    await visitor.post(f"{place}/enable", token)
    assert (await visitor.api.get("/webhook/find/loja")).body["enabled"] is True
    await visitor.post(f"{place}/rotate-secret", token)
    assert "This is the new signing secret" in (await visitor.see(place)).text
    await receiver.stop()
    await visitor.post(f"{place}/test", token)
    assert "The test event was not delivered" in (await visitor.see(place)).text
    await visitor.post(f"{place}/remove", token)
    assert (await visitor.api.get("/webhook/list/loja")).body == []


async def test_an_instance_goes_only_by_its_name(visitor: Visitor) -> None:
    token = await visitor.token()
    await visitor.post("/instances", token, name="loja", number="5511")
    refused = await visitor.post("/instances", token, name="loja")
    assert refused.status == 409
    assert "there is an instance loja already" in refused.text
    await visitor.post("/instances/loja", token, skip_superseded="true")
    told = (await visitor.api.get("/instances/loja")).data
    assert (told["number"], told["skip_superseded"]) == (None, True)

    for typed in ("", "Loja"):
        await visitor.post("/instances/loja/delete", token, confirm=typed)
        assert (await visitor.api.get("/instances/loja")).status == 200
    await visitor.post("/instances/loja/delete", token, confirm="loja")
    assert (await visitor.api.get("/instances/loja")).status == 404


async def test_no_event_chosen_is_not_all_events(visitor: Visitor) -> None:
    place, token = "/instances/loja/sinks/webhook/default", await visitor.token()

    seen = await visitor.post(
        place, token, enabled="true", all_events="some", url="https://a.example"
    )

    assert seen.status == 422
    assert "choose at least one event" in seen.text


def test_numbers_and_pairs_are_read() -> None:
    assert [number(t) for t in ("5", "0.5", "1e3", "x", "nan")] == [5, 0.5, 1000, "x", "nan"]
    with pytest.raises(InvalidError) as refused:
        read(MultiDict({"headers": "X-A: 1\nno colon"}), FIELDS["webhook"])
    assert refused.value.details[0].path == "headers"


async def test_an_installation_is_connected_changed_and_removed(visitor: Visitor) -> None:
    api, token = visitor.api, await visitor.token()
    for instance, wrong in (("loja 1", "instance"), ("loja", "credentials.secret")):
        seen = await visitor.post("/installations/new", token, driver="kiwify", instance=instance)
        assert seen.status == 422
        assert f'id="error-{wrong}"' in seen.text
        assert f'value="{instance}"' in seen.text

    fields = {
        "driver": "kiwify",
        "instance": "loja",
        "credentials.secret": "s" * 20,
    }
    made = await visitor.post(
        "/installations/new", token, **fields, settings='{"api_version": "1"}'
    )
    assert made.status == 303, made.refused
    (one,) = (await api.get("/installations")).data
    place = f"/installations/{one['id']}"
    page = await visitor.see(place)
    assert one["ingest_url"] in page.text
    assert "s" * 20 not in page.text

    masked = {"credentials.secret": one["credentials"]["secret"]}
    await visitor.post(place, token, name="Kiwify BR", settings="{}", **masked)
    changed = (await api.get(place)).data
    assert (changed["name"], changed["settings"]) == ("Kiwify BR", {})
    assert changed["credentials"] == one["credentials"]
    refused = await visitor.post(place, token, name="x", settings="[", **masked)
    assert refused.status == 422
    assert 'id="error-settings"' in refused.text

    await visitor.post(f"{place}/rotate-token", token)
    assert (await api.get(place)).data["ingest_url"] != one["ingest_url"]
    await visitor.post(f"{place}/rotate-secret", token, secret="t" * 20, hours="1")
    await visitor.post(f"{place}/disable", token)
    assert (await api.get(place)).data["status"] == "disabled"
    await visitor.post(f"{place}/delete", token, confirm="another")
    assert (await api.get(place)).status == 200
    await visitor.post(f"{place}/delete", token, confirm="Kiwify BR")
    assert (await api.get(place)).status == 404


async def test_api_credentials_are_rotated_with_an_overlap(visitor: Visitor) -> None:
    api, token = visitor.api, await visitor.token()
    one = await api.install("appmax", credentials={"access_token": "the-first-key-0123"})
    place = f"/installations/{one['id']}"
    assert "New API credentials" in (await visitor.see(place)).text

    await visitor.post(f"{place}/rotate-credentials", token, key_hours="2")
    assert "send the new secret" in (await visitor.see(place)).text
    fresh = {"rotate.access_token": "the-second-key-456"}
    await visitor.post(f"{place}/rotate-credentials", token, key_hours="2", **fresh)
    page = (await visitor.see(place)).text
    assert "The new credentials are in use" in page
    assert "access_token ********0123" in page
    (previous,) = (await api.get(place)).data["previous_credentials"]
    assert previous["credentials"] == {"access_token": "********0123"}
    left = datetime.fromisoformat(previous["until"]) - datetime.now(UTC)
    assert timedelta(hours=1) < left < timedelta(hours=3)
    # A driver whose API is never called has none.
    other = await api.install("monetizze")
    assert "New API credentials" not in (await visitor.see(f"/installations/{other['id']}")).text


@pytest.mark.parametrize("driver", ["shopify", "woocommerce", "stripe"])
async def test_the_sample_request_shown_is_accepted(visitor: Visitor, driver: str) -> None:
    api = visitor.api
    one = await api.install(driver, credentials={"secret": "whsec_of_this_test_1234"})

    page = await visitor.see(f"/installations/{one['id']}")

    shown = re.search(r'data-copy="(curl [^"]+)"', page.text)
    assert shown
    words = shlex.split(unescape(shown[1]))
    headers = dict(h.split(": ", 1) for w, h in pairwise(words) if w == "-H")
    url = api.url + urlsplit(words[1]).path.removeprefix("/gw")
    async with api.session.post(url, data=words[-1].encode(), headers=headers) as got:
        assert got.status == 200, await got.text()


async def test_a_secret_that_travels_is_not_shown(visitor: Visitor) -> None:
    one = await visitor.api.install("hotmart", credentials={"secret": "the-hottok-of-this-test"})

    page = await visitor.see(f"/installations/{one['id']}")

    assert "YOUR-SECRET" in page.text
    assert "the-hottok-of-this-test" not in page.text


async def test_a_driver_is_set_up_and_tried(visitor: Visitor, receiver: Receiver) -> None:
    token, place = await visitor.token(), "/drivers/shopify"
    fields = {"enabled": "true", "client_id": "ours", "client_secret": "c" * 20}
    saved = await visitor.post(place, token, **fields, redirect_url="not a url")
    assert saved.status == 422
    assert 'id="error-redirect_url"' in saved.text
    saved = await visitor.post(place, token, **fields, redirect_url="https://shop.example/back")
    assert saved.status == 303, saved.refused
    stored = (await visitor.api.get("/drivers/shopify/settings")).data
    assert stored["oauth_settings"]["client_id"] == "ours"
    assert "c" * 20 not in (await visitor.see(place)).text

    tried = await visitor.post(
        f"{place}/try", token, webhook_url=receiver.url, event_name="order.paid"
    )
    assert "POST returned a 2xx status" in tried.text
    assert len(receiver.got) == 1
    tried = await visitor.post(f"{place}/try", token, webhook_url="x", event_name="order.paid")
    assert "URL is not valid" in tried.text


async def test_quarantine_is_read_again(visitor: Visitor) -> None:
    shop, token = await opened(visitor.api), await visitor.token()
    body = b'{"event": "PURCHASE_APPROVED", "id": "1", "version": "2.0.0"}'
    headers = {"X-Hotmart-Hottok": "the-hottok-of-these-tests", "Content-Type": "application/json"}
    async with visitor.session.post(visitor.api.url + shop.path, data=body, headers=headers):
        pass
    seen = await visitor.see("/failures/quarantine")
    assert "missing:data" in seen.text
    (inbound,) = (await visitor.api.get("/processing/webhooks")).data

    await visitor.post(f"/inbounds/{inbound['id']}/renormalize", token)
    assert "still in quarantine" in (await visitor.see(f"/inbounds/{inbound['id']}")).text
    begun = await visitor.post("/failures/renormalize", token, driver="hotmart")
    assert "failures/jobs/" in begun.headers["Location"] or "jobs/" in begun.headers["Location"]
    assert "hotmart" in (await visitor.see("/failures/jobs")).text


async def test_search_leads_to_the_trace(visitor: Visitor) -> None:
    shop = await opened(visitor.api)
    event = await shop.order(7)
    (inbound,) = (await visitor.api.get("/processing/webhooks")).data
    buyer = (await visitor.api.get(f"/processing/events/{event}")).data["data"]["customer"]["email"]

    for text, place in (
        (event, f"events/{event}"),
        (event.upper(), f"events/{event}"),
        ("HP00000007", f"events/{event}"),
        (buyer, f"events/{event}"),
        (inbound["id"], f"inbounds/{inbound['id']}"),
        (shop.installation["id"], f"installations/{shop.installation['id']}"),
    ):
        seen = await visitor.see(f"/search?q={text}", follow=False)
        assert seen.status == 303, text
        assert seen.headers["Location"] == place
    for text in ("nothing", "0" * 26, "%00", "a" * 2000):
        assert "Nothing found" in (await visitor.see(f"/search?q={text}")).text


@pytest.mark.parametrize("place", ["/events?status=x", "/deliveries?sink=x", "/inbounds?cursor=x"])
async def test_a_filter_that_is_refused_is_told(visitor: Visitor, place: str) -> None:
    seen = await visitor.see(place)

    assert seen.status == 422
    assert 'role="alert"' in seen.text


async def test_payloads_are_text_not_html(visitor: Visitor) -> None:
    shop = await opened(visitor.api)
    await shop.sends(id="<script>alert(1)</script>", transaction='"><img src=x onerror=alert(1)>')
    (event,) = (await visitor.api.get("/processing/events")).data
    (inbound,) = (await visitor.api.get("/processing/webhooks")).data

    for place in ("/events", f"/events/{event['id']}", f"/inbounds/{inbound['id']}", "/inbounds"):
        text = (await visitor.see(place)).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
