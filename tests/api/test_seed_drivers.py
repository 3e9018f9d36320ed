"""The drivers' page of the reference product, example by example: the same keys, the same nesting,
and the same values wherever they do not depend on the day.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.api.rig import PUBLIC, Api, serving
from tests.sinks.receiver import Receiver
from tests.sinks.tls import self_signed

GURU, BLING = "01ke7rhnt6fhb6tsbbhcdpepya", "01ke7rhnt6fhb6tsbbhcdpepyb"
TIME = "2024-01-15T10:00:00.000000Z"
REDIRECT = "https://sua-app.com/oauth/callback"
BLING_SETTINGS = {
    "custom_oauth_enabled": {"required": False, "type": "boolean"},
    "oauth_settings.redirect_url": {"required": True, "type": "url"},
    "oauth_settings.custom_oauth.client_id": {
        "required_if": "custom_oauth_enabled,true",
        "type": "string",
    },
    "oauth_settings.custom_oauth.client_secret": {
        "required_if": "custom_oauth_enabled,true",
        "type": "string",
    },
}
GURU_DRIVER = {
    "id": GURU,
    "name": "Digital Manager Guru",
    "slug": "digital_manager_guru",
    "description": "A Digital Manager Guru é uma plataforma completa de gestão de vendas...",
    "version": "v1",
    "type": "webhook",
    "available_settings": {},
    "supported_events": ["order.paid", "order.canceled", "checkout.abandoned"],
    "enabled": False,
    "enabled_at": None,
    "created_at": TIME,
    "updated_at": TIME,
}
BLING_DRIVER = {
    "id": BLING,
    "name": "Bling",
    "slug": "bling",
    "description": "Integração com a plataforma Bling para gestão de vendas.",
    "version": "v1",
    "type": "webhook",
    "available_settings": BLING_SETTINGS,
    "supported_events": ["order.paid", "order.canceled"],
    "enabled": True,
    "enabled_at": TIME,
    "created_at": TIME,
    "updated_at": TIME,
}
LIST: dict[str, Any] = {
    "data": [GURU_DRIVER, BLING_DRIVER],
    "links": {
        "first": f"{PUBLIC}/drivers?limit=20&page=1",
        "last": f"{PUBLIC}/drivers?limit=20&page=1",
        "prev": None,
        "next": None,
    },
    "meta": {
        "current_page": 1,
        "from": 1,
        "last_page": 1,
        "path": f"{PUBLIC}/drivers",
        "per_page": 20,
    },
}
CONFIGURED = {
    "data": {
        "enabled": True,
        "custom_oauth_enabled": False,
        "custom_oauth_enabled_at": None,
        "custom_oauth_can_be_edited": True,
        "oauth_settings": {"redirect_url": REDIRECT, "custom_oauth": []},
        "enabled_at": TIME,
        "created_at": TIME,
        "updated_at": TIME,
        "driver": {"id": BLING, "name": "Bling", "slug": "bling"},
    }
}
CHECKS = ("valid_url", "https", "gzip", "timeout", "post_success")
PASSED = {
    "valid_url": {"result": "succeeded", "message": "URL é válida"},
    "https": {"result": "succeeded", "message": "URL usa HTTPS"},
    "gzip": {"result": "succeeded", "message": "Servidor aceita compressão gzip"},
    "timeout": {"result": "succeeded", "message": "Timeout adequado"},
    "post_success": {"result": "succeeded", "message": "POST retornou código 2xx"},
}
SKIPPED = {"result": "skipped", "message": None}
NOT_HTTPS = {
    "valid_url": {"result": "succeeded", "message": "URL é válida"},
    "https": {"result": "failed", "message": "URL deve usar HTTPS"},
    "gzip": SKIPPED,
    "timeout": SKIPPED,
    "post_success": SKIPPED,
}
# What is of the day, or longer with us than in an example.
VARIES = {"description", "supported_events", "created_at", "updated_at", "enabled_at"}


def hold(example: Any, answer: Any, path: str = "") -> None:
    """Every key of the example is in the answer, at its place, with its value or its type."""
    name = path.rpartition(".")[2]
    if isinstance(example, dict) and name != "available_settings":
        assert isinstance(answer, dict), path
        for key, value in example.items():
            assert key in answer, f"{path}.{key}"
            hold(value, answer[key], f"{path}.{key}")
    elif name == "supported_events":
        assert set(example) <= set(answer)
    elif name in VARIES:
        assert type(answer) is type(example), path
        assert len(answer or "") == len(example or "") or name == "description", path
    else:
        assert answer == example, path


async def configured(api: Api, **more: Any) -> Any:
    body = {"enabled": True, "oauth_settings": {"redirect_url": REDIRECT}} | more
    return await api.put(f"/drivers/{BLING}/settings", body)


async def test_the_list(api: Api) -> None:
    await configured(api)
    answer = await api.get("/drivers?limit=20")
    by_id = {driver["id"]: driver for driver in answer.body["data"]}

    assert answer.status == 200
    hold(LIST | {"data": {d["id"]: d for d in LIST["data"]}}, answer.body | {"data": by_id})
    assert answer.body["meta"]["to"] == answer.body["meta"]["total"] == len(by_id)


async def test_the_names(api: Api) -> None:
    names = (await api.get("/drivers/names")).body["data"]
    example = [
        {"name": "Bling", "slug": "bling"},
        {"name": "Digital Manager Guru", "slug": "digital_manager_guru"},
        {"name": "Hotmart", "slug": "hotmart"},
        {"name": "Shopify", "slug": "shopify"},
    ]

    assert [named for named in names if named in example] == example


async def test_one_driver(api: Api) -> None:
    answer = await api.get(f"/drivers/{GURU}")

    assert answer.status == 200
    hold({"data": GURU_DRIVER}, answer.body)


async def test_settings_that_were_never_made(api: Api) -> None:
    answer = await api.get(f"/drivers/{BLING}/settings")

    assert answer.status == 404
    hold({"error": "Not found"}, answer.body)


@pytest.mark.parametrize(
    "client", [{}, {"client_id": "seu-client-id", "client_secret": "seu-client-secret"}]
)
async def test_settings_as_they_are_put_and_shown(api: Api, client: dict[str, str]) -> None:
    put = await configured(api, oauth_settings={"redirect_url": REDIRECT} | client)
    got = await api.get(f"/drivers/{BLING}/settings")

    for answer in (put, got):
        assert answer.status == 200
        hold(CONFIGURED, answer.body)


async def test_settings_with_a_custom_client(api: Api) -> None:
    custom = {"client_id": "custom-client-id", "client_secret": "custom-client-secret"}
    settings = {"redirect_url": REDIRECT, "custom_oauth": custom}
    answer = await configured(api, custom_oauth_enabled=True, oauth_settings=settings)
    shown = answer.data["oauth_settings"]["custom_oauth"]

    assert answer.data["custom_oauth_enabled"] is True
    assert len(answer.data["custom_oauth_enabled_at"]) == len(TIME)
    assert shown == {"client_id": "custom-client-id", "client_secret": "********cret"}


async def test_settings_of_a_simple_driver(api: Api) -> None:
    answer = await api.put(f"/drivers/{GURU}/settings", {"enabled": True})

    assert answer.status == 200
    assert answer.data["enabled"] is True
    assert answer.data["driver"]["id"] == GURU


async def test_a_test_event_that_passes(tmp_path: Path) -> None:
    context, bundle = self_signed(tmp_path, "localhost")
    receiver = Receiver()
    await receiver.start(context)
    allowed = ("127.0.0.0/8", "localhost")
    async with serving(tmp_path / "data", ca_file=str(bundle), allow_targets=allowed) as api:
        url = f"https://localhost:{receiver.port}/webhooks"
        wish = {"webhook_url": url, "event_name": "order.paid"}
        answer = await api.post(f"/drivers/{GURU}/send-test-event", wish)
    await receiver.stop()

    assert answer.status == 200
    hold({"data": {"success": True, "checks": PASSED}}, answer.body)
    assert tuple(answer.data["checks"]) == CHECKS


async def test_a_test_event_to_a_url_without_https(api: Api) -> None:
    wish = {"webhook_url": "http://sua-api.com/webhooks", "event_name": "order.paid"}
    answer = await api.post(f"/drivers/{GURU}/send-test-event", wish)

    assert answer.status == 400
    hold({"data": {"success": False, "checks": NOT_HTTPS}}, answer.body)
    assert tuple(answer.body["data"]["checks"]) == CHECKS


async def test_an_installation_with_the_settings_of_the_concept_page(api: Api) -> None:
    settings = {
        "poll_interval": 5,
        "webhook_topics": ["orders/create", "orders/updated"],
        "api_version": "2024-01",
    }
    wish = {"driver_id": "shopify", "instance": "loja-1", "settings": settings}
    answer = await api.post("/installations", wish | {"credentials": {"secret": "s3cret"}})

    assert answer.status == 201
    assert answer.data["settings"] == settings
    assert answer.data["driver"]["slug"] == "shopify"
