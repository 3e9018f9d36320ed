"""A test event of a driver: five checks in order, by one real delivery."""

import asyncio
import gzip
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from drivers import DRIVERS
from gateway.trial import example
from schemas import codec
from tests.api.rig import Answer, Api
from tests.sinks.receiver import Got, Receiver

CHECKS = ["valid_url", "https", "gzip", "timeout", "post_success"]
GURU = "/drivers/digital_manager_guru/send-test-event"


async def tried(api: Api, url: str, name: str = "order.paid", **more: Any) -> Answer:
    return await api.post(GURU, {"webhook_url": url, "event_name": name}, **more)


def results(answer: Answer) -> list[str]:
    checks = answer.body["data"]["checks"]
    assert list(checks) == CHECKS
    return [check["result"] for check in checks.values()]


async def test_a_good_receiver_passes_every_check(api: Api, receiver: Receiver) -> None:
    answer = await tried(api, receiver.url)

    assert answer.status == 200
    assert answer.data["success"] is True
    assert results(answer) == ["succeeded"] * 5
    checks = answer.data["checks"]
    assert checks["valid_url"] == {"result": "succeeded", "message": "URL é válida"}
    assert checks["gzip"]["message"] == "Servidor aceita compressão gzip"
    assert checks["timeout"]["message"] == "Timeout adequado"
    assert checks["post_success"]["message"] == "POST retornou código 2xx"

    (got,) = receiver.got
    assert got.headers["Content-Encoding"] == "gzip"
    body = gzip.decompress(got.body)
    sent = codec.loads(body)
    assert sent["event"] == "order.paid"
    assert sent["test"] is True
    assert sent["driver"] == "digital_manager_guru"
    assert sent["id"] == answer.data["event_id"] == got.headers["webhook-id"]
    assert sent["data"]["order"]["status"] == "paid"
    assert sent["data"]["shipping_address"] is None or sent["data"]["shipping_address"]
    signed = {k: got.headers[k] for k in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    Webhook(answer.data["signing_secret"]).verify(body, signed)


async def test_it_is_signed_like_the_webhook_that_has_the_url(api: Api, receiver: Receiver) -> None:
    secret = (await api.post("/webhook/set/loja", {"url": receiver.url})).body["secret"]
    answer = await tried(api, receiver.url)

    assert answer.data["signing_secret"] is None
    (got,) = receiver.got
    signed = {k: got.headers[k] for k in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    Webhook(secret).verify(gzip.decompress(got.body), signed)


@pytest.mark.parametrize(
    "url",
    [
        "not a url",
        "ftp://example.com/x",
        "https://user:pass@example.com/",
        "https://169.254.169.254/latest",
        "https://10.1.2.3/hook",
        "https://localhost/hook",
        "https://0x7f000001/",
        "//example.com/hook",
    ],
)
async def test_a_url_that_cannot_be_is_found_out_without_asking(api: Api, url: str) -> None:
    answer = await tried(api, url)

    assert answer.status == 400
    assert answer.body["data"]["success"] is False
    assert results(answer) == ["failed", *["skipped"] * 4]
    assert answer.body["data"]["checks"]["https"] == {"result": "skipped", "message": None}


async def test_https_is_wanted(api: Api) -> None:
    """The documented example of a failure, word by word."""
    answer = await tried(api, "http://sua-api.com/webhooks")

    assert answer.status == 400
    assert answer.body["data"]["success"] is False
    assert answer.body["data"]["checks"] == {
        "valid_url": {"result": "succeeded", "message": "URL é válida"},
        "https": {"result": "failed", "message": "URL deve usar HTTPS"},
        "gzip": {"result": "skipped", "message": None},
        "timeout": {"result": "skipped", "message": None},
        "post_success": {"result": "skipped", "message": None},
    }
    english = await tried(api, "http://sua-api.com/webhooks", headers={"Accept-Language": "en-GB"})
    assert english.body["data"]["checks"]["https"]["message"] == "URL must use HTTPS"


async def test_a_receiver_that_takes_no_gzip(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(status=415)
    answer = await tried(api, receiver.url)

    assert answer.status == 400
    assert results(answer) == ["succeeded", "succeeded", "failed", "skipped", "skipped"]


async def test_nobody_there(api: Api, receiver: Receiver) -> None:
    await receiver.stop()
    answer = await tried(api, receiver.url)

    assert results(answer) == ["succeeded", "succeeded", "failed", "skipped", "skipped"]
    assert "conectar" in answer.body["data"]["checks"]["gzip"]["message"]


async def test_a_slow_receiver(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.trial.SECONDS", 0.2)
    let_go = asyncio.Event()

    async def dawdle(_: Got) -> web.StreamResponse:
        await let_go.wait()
        return web.Response()

    receiver.answer = dawdle
    answer = await tried(api, receiver.url)
    let_go.set()

    assert results(answer) == ["succeeded", "succeeded", "succeeded", "failed", "skipped"]


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_anything_but_2xx_fails(api: Api, receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _: web.Response(status=status, headers={"Location": "/elsewhere"})
    answer = await tried(api, receiver.url)

    assert results(answer) == [*["succeeded"] * 4, "failed"]
    message = answer.body["data"]["checks"]["post_success"]["message"]
    assert message == f"POST retornou código {status}"
    assert len(receiver.got) == 1


async def test_the_event_is_one_of_the_drivers(api: Api, receiver: Receiver) -> None:
    for name in ("order.shipped", "nonsense", "messages.upsert"):
        faults = (await tried(api, receiver.url, name)).faults
        assert "order.paid" in faults["event_name"]
    assert (await tried(api, receiver.url, "ORDER_PAID")).status == 200
    missing = await api.post(GURU, {})
    assert set(missing.faults) == {"webhook_url", "event_name"}
    assert (await api.post("/drivers/nobody/send-test-event", {})).status == 404
    limited = await api.limited("EVENTS_READ")
    assert (await tried(limited, receiver.url)).status == 403
    assert len(receiver.got) == 1


def test_every_driver_has_an_example_of_every_event_it_names() -> None:
    """Else the endpoint would refuse an event that the driver's page offers."""
    missing = [
        f"{driver.slug}: {name}"
        for driver in DRIVERS
        for name in driver.supported_events
        if example(driver, name, ident="e", tenant="t", now=1_774_000_000_000_000) is None
    ]

    assert not missing
