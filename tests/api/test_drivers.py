"""The drivers' list as the reference product shows it, its paging, and drift."""

import asyncio
from typing import Any

import pytest

from drivers import DRIVERS
from gateway.api.times import api_time
from gateway.drift import Drift
from tests.api.rig import PUBLIC, Api

GURU = "01ke7rhnt6fhb6tsbbhcdpepya"
# The keys of the documented example answers, exactly.
DRIVER_KEYS = set(
    "id name slug description version type available_settings supported_events enabled enabled_at"
    " created_at updated_at".split()
)
META_KEYS = set("current_page from last_page path per_page to total".split())


async def test_the_list_has_the_documented_shape(api: Api) -> None:
    answer = await api.get("/drivers?limit=20")

    assert answer.status == 200
    assert set(answer.body) == {"data", "links", "meta"}
    assert set(answer.body["links"]) == {"first", "last", "prev", "next"}
    assert set(answer.body["meta"]) == META_KEYS
    names = [d["name"] for d in answer.body["data"]]
    assert names == sorted(names, key=str.casefold)
    for driver in answer.body["data"]:
        assert set(driver) == DRIVER_KEYS | {"status"}
        assert driver["status"] == "active"
        assert driver["enabled"] is False
        assert driver["enabled_at"] is None
        assert driver["created_at"].endswith(".000000Z")


async def test_one_driver_is_found_by_id_or_slug(api: Api) -> None:
    by_id, by_slug = await api.get(f"/drivers/{GURU}"), await api.get("/drivers/hotmart")

    assert set(by_id.data) >= DRIVER_KEYS
    assert by_id.data["slug"] == "digital_manager_guru"
    assert by_id.data["name"] == "Digital Manager Guru"
    assert by_id.data["description"].startswith("A Digital Manager Guru é")
    schema = by_slug.data["credentials_schema"]
    assert schema["secret"] == {
        "type": "string",
        "label": "Webhook secret",
        "required": True,
        "secret": True,
    }
    assert schema["client_id"]["secret"] is False
    missing = await api.get("/drivers/nobody")
    assert missing.status == 404
    assert missing.body["error"] == "Not found"


async def test_oauth_drivers_show_what_they_need(api: Api) -> None:
    shown = (await api.get("/drivers/shopify")).data

    assert shown["available_settings"] == {
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
    assert shown["oauth_callback_url"] == f"{PUBLIC}/oauth/shopify/callback"
    assert (await api.get("/drivers/hotmart")).data["oauth_callback_url"] is None
    assert shown["credentials_schema"]["secret"]["required"] is False
    assert "access_token" in shown["credentials_schema"]


async def test_names_are_a_list_of_their_own(api: Api) -> None:
    answer = await api.get("/drivers/names")

    assert set(answer.body) == {"data"}
    assert {"name": "Digital Manager Guru", "slug": "digital_manager_guru"} in answer.data
    assert len(answer.data) == len(DRIVERS)
    assert all(set(d) == {"name", "slug"} for d in answer.data)
    assert [d["name"] for d in answer.data] == sorted((d.name for d in DRIVERS), key=str.casefold)


@pytest.mark.parametrize(
    ("language", "word"),
    [
        ("", "vendas"),
        ("en", "Sales"),
        ("en-US,en;q=0.9", "Sales"),
        ("pt-BR,en;q=0.5", "vendas"),
        ("pt;q=0.3, en;q=0.4", "Sales"),
        ("en;q=high", "vendas"),
        ("de", "vendas"),
    ],
)
async def test_descriptions_are_portuguese_unless_asked_otherwise(
    api: Api, language: str, word: str
) -> None:
    answer = await api.get(f"/drivers/{GURU}", headers={"Accept-Language": language})

    assert word in answer.data["description"]


async def test_pages_are_linked_and_keep_the_query(api: Api) -> None:
    total = len(DRIVERS)
    query = "filter%5Btype%5D=webhook&sort=-slug&limit=2"
    first = await api.get(f"/drivers?{query}")
    second = await api.get(f"/drivers/?page=2&{query}")

    slugs = sorted((d.slug for d in DRIVERS), reverse=True)
    assert [d["slug"] for d in first.data] == slugs[:2]
    assert [d["slug"] for d in second.data] == slugs[2:4]
    last = -(-total // 2)
    assert second.body["meta"] == {
        "current_page": 2,
        "from": 3,
        "last_page": last,
        "path": f"{PUBLIC}/drivers",
        "per_page": 2,
        "to": 4,
        "total": total,
    }
    assert second.body["links"] == {
        "first": f"{PUBLIC}/drivers?{query}&page=1",
        "last": f"{PUBLIC}/drivers?{query}&page={last}",
        "prev": f"{PUBLIC}/drivers?{query}&page=1",
        "next": f"{PUBLIC}/drivers?{query}&page=3",
    }
    end = await api.get(f"/drivers?{query}&page={last}")
    assert end.body["links"]["next"] is None
    assert end.body["meta"]["to"] == total


async def test_beyond_the_last_page_there_is_nothing(api: Api) -> None:
    answer = await api.get("/drivers?page=900")

    assert answer.data == []
    assert answer.body["meta"]["from"] is None
    assert answer.body["meta"]["to"] is None
    assert answer.body["links"]["next"] is None
    assert answer.body["links"]["prev"] == answer.body["links"]["last"]
    default = await api.get("/drivers")
    assert default.body["meta"]["per_page"] == 10


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=-5", "limit"),
        ("page=0", "page"),
        ("page=%C2%B2", "page"),
        ("sort=weight", "sort"),
        ("sort=name,--slug", "sort"),
        ("filter[type]=carrier-pigeon", "filter[type]"),
        ("filter[status]=new", "filter[status]"),
        ("filter[enabled]=perhaps", "filter[enabled]"),
        ("filter[slug]=bling", "filter[slug]"),
    ],
)
async def test_a_query_that_means_nothing_is_refused(api: Api, query: str, path: str) -> None:
    assert set((await api.get(f"/drivers?{query}")).faults) == {path}


async def test_filters_choose(api: Api) -> None:
    await api.install("hotmart")

    async def chosen(query: str) -> list[str]:
        return [d["slug"] for d in (await api.get(f"/drivers?limit=100&{query}")).data]

    assert await chosen("filter[name]=MANAGER") == ["digital_manager_guru"]
    assert await chosen("filter[enabled]=true") == ["hotmart"]
    assert "hotmart" not in await chosen("filter[enabled]=0")
    assert await chosen("filter[type]=polling") == []
    assert await chosen("filter[name]=&filter[status]=disabled") == []
    assert len(await chosen("sort=type,-created_at")) == len(DRIVERS)


async def test_any_key_reads_drivers_and_nobody_else(api: Api) -> None:
    reader = await api.limited()

    for path in ("", "/names", "/hotmart"):
        assert (await reader.get(f"/drivers{path}")).status == 200
        assert (await api.with_key(None).get(f"/drivers{path}")).status == 401
    assert (await reader.get("/drivers/hotmart/drift")).status == 403


async def test_drift_is_counted_and_kept(api: Api) -> None:
    drift, now = api.services.drift, api.services.now()
    assert (await api.get("/drivers/hotmart/drift")).data == []
    for inbound in ("in1", "in2"):
        drift.note("default", "hotmart", ["unknown_status:odd", "missing:buyer"], inbound)
        await drift.flush()
    drift.note("default", "hotmart", ["missing:buyer"], "in3")
    drift.note("other", "hotmart", ["missing:theirs"], "in4")
    await drift.flush()

    first, second = (await api.get("/drivers/hotmart/drift")).data
    assert (first["sign"], first["count"]) == ("missing:buyer", 3)
    assert first["example_inbound_id"] == "in3"
    assert (second["sign"], second["count"]) == ("unknown_status:odd", 2)
    assert (api_time(now) or "") <= second["first_seen_at"] < second["last_seen_at"]
    assert b'comporta_drift_total{driver="hotmart",reason="missing"}' in (
        api.services.metrics.render()
    )


async def test_a_stranger_cannot_fill_the_store_with_signs(api: Api) -> None:
    drift = api.services.drift
    drift.note("default", "hotmart", [f"unknown_event:{i}" for i in range(300)], "in1")
    await drift.flush()

    signs: list[Any] = (await api.get("/drivers/hotmart/drift")).data
    assert len(signs) == 201
    assert sum(s["count"] for s in signs) == 300


async def test_signs_that_cannot_be_written_do_not_pile_up(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.drift.MOST_UNWRITTEN", 3)
    drift = api.services.drift
    drift.note("default", "hotmart", [f"missing:{i}" for i in range(10)], "in1")

    assert drift.unwritten == 4
    await drift.flush()
    signs = {s["sign"]: s["count"] for s in (await api.get("/drivers/hotmart/drift")).data}
    assert sum(signs.values()) == 10
    assert signs["missing:0"] == 1


async def test_processes_count_into_one_row(api: Api) -> None:
    """Both write at the same moment; neither count is lost."""
    services = api.services
    other = Drift(services.registry, services.metrics.drift, services.ids, services.now)
    for drift in (services.drift, other):
        drift.note("default", "hotmart", ["missing:a"], "in1")
    await asyncio.gather(services.drift.flush(), other.flush())

    (sign,) = (await api.get("/drivers/hotmart/drift")).data
    assert sign["count"] == 2
