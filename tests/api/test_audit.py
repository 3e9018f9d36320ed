"""The audit log: every change is on record, with who and whence, and nothing secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.api.changing import changes
from gateway.api.router import ROUTES
from gateway.audit import KEEP
from gateway.models import ApiKey
from gateway.security import digest
from gateway.sources import FAILURES
from tests.api.rig import Answer, Api, serving


async def entries(api: Api, query: str = "") -> Any:
    return (await api.get(f"/audit{query}")).data


async def test_a_change_is_on_record(api: Api) -> None:
    made = (await api.post("/api-keys", {"name": "ci", "permissions": ["SINKS_MANAGE"]})).data
    ci = api.with_key(made["key"])
    secret = "whsec_" + "c2VjcmV0" * 4
    answer = await ci.post("/webhook/set/loja-1", {"url": "https://a.example", "secret": secret})
    assert answer.status == 201, answer.body
    await api.post(f"/api-keys/{made['id']}/rotate", {"overlap_seconds": 5})

    rotated, sink, key = await entries(api)
    assert sink["key"] == {"id": made["id"], "name": "ci"}
    assert sink["action"] == "POST /webhook/set/{instance}"
    assert sink["path"] == "/webhook/set/loja-1"
    assert sink["instance"] == "loja-1"
    assert sink["fields"] == ["secret", "url"]
    assert sink["source"] == "127.0.0.1"
    assert sink["status"] == 201
    assert (key["action"], key["target"]) == ("POST /api-keys", made["id"])
    assert key["key"] == {"id": "admin", "name": "admin"}
    assert rotated["action"] == "POST /api-keys/{id}/rotate"
    assert rotated["target"] == made["id"]


async def test_nothing_secret_is_in_it(api: Api) -> None:
    installation = await api.install("kiwify", credentials={"secret": "the-signing-secret-of-loja"})
    await api.post(f"/installations/{installation['id']}/rotate-token")
    await api.post(
        f"/installations/{installation['id']}/rotate-credentials", {"secret": "a-newer-secret"}
    )
    odd = {"url": "https://a.example/?token=t0p", "cmp_0123456789abcdefghij": 1, "a b": 2}
    await api.post("/webhook/set/loja", odd)

    told = json.dumps(await entries(api))
    token = installation["ingest_url"].rpartition("/")[2]
    for secret in ("the-signing-secret", "a-newer-secret", token, "t0p", "0123456789", "a b"):
        assert secret not in told
    assert len(await entries(api)) == 4


async def test_what_changed_nothing_is_not_on_record(api: Api) -> None:
    await api.get("/drivers")
    await api.with_key("cmp_x").post("/api-keys", {"name": "x", "permissions": []})
    await api.post("/api-keys", {"name": ""})
    limited = await api.limited("EVENTS_READ")
    await limited.delete("/api-keys/x")

    assert [e["path"] for e in await entries(api)] == ["/api-keys"]


def test_every_route_that_changes_something_is_recorded() -> None:
    quiet = {
        (r.method, r.path)
        for r in ROUTES
        if r.method not in {"GET", "HEAD", "OPTIONS"} and not changes(r)
    }

    assert {path.split("/")[1] for _, path in quiet} <= {"hooks", "webhook", "socket.io"}
    assert all("evolution" in path for _, path in quiet if path.startswith("/webhook"))


async def test_it_is_read_by_page_and_filter(api: Api) -> None:
    for number in range(5):
        await api.post("/instances", {"name": f"loja-{number}"})
    first = await api.get("/audit?limit=2")
    second = await api.get(f"/audit?limit=10&cursor={first.body['meta']['next_cursor']}")

    assert [e["instance"] or e["target"] for e in first.data + second.data]
    assert len(first.data) == 2
    assert len(second.data) == 3
    assert second.body["meta"]["next_cursor"] is None
    assert len(await entries(api, "?filter[action]=POST /instances")) == 5
    assert await entries(api, "?filter[action]=POST /api-keys") == []
    assert len(await entries(api, "?filter[key]=admin&filter[source]=127.0.0.1")) == 5
    assert await entries(api, "?created_at_less_than=2020-01-01T00:00:00Z") == []
    assert "filter[what]" in (await api.get("/audit?filter[what]=x")).faults


async def test_it_is_the_tenants_own_and_a_limited_key_sees_its_instance(api: Api) -> None:
    await api.post("/webhook/set/loja-1", {"url": "https://a.example"})
    await api.post("/webhook/set/loja-2", {"url": "https://a.example"})
    stranger = ApiKey(
        id=api.services.ids(), tenant="other", name="x", digest=digest("x"), permissions=("*",)
    )
    await api.services.directory.save("api_key", stranger)
    limited = await api.limited("EVENTS_READ", instance="loja-2")

    assert await entries(api.with_key("x")) == []
    seen = [(e["action"], e["instance"]) for e in await entries(limited)]
    assert seen == [("POST /api-keys", "loja-2"), ("POST /webhook/set/{instance}", "loja-2")]


async def test_a_proxys_word_for_the_source(tmp_path: Path) -> None:
    headers = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Host": "evil.example"}
    async with serving(tmp_path, trusted_proxies=("127.0.0.0/8",)) as api:
        answer = await api.post("/instances", {"name": "a"}, headers=headers)
        (entry,) = await entries(api)

        assert entry["source"] == "198.51.100.7"
        assert "evil.example" not in str(answer.body)


async def test_a_source_that_guesses_is_held_off(tmp_path: Path) -> None:
    async with serving(tmp_path, trusted_proxies=("127.0.0.0/8",)) as api:
        guesser = {"X-Forwarded-For": "198.51.100.7"}
        nobody = api.with_key(None)

        async def guess(number: int) -> Answer:
            return await nobody.get("/drivers", headers=guesser | {"apikey": f"guess-{number}"})

        statuses = [(await guess(n)).status for n in range(FAILURES + 10)]
        assert set(statuses[:FAILURES]) == {401}
        last = await guess(0)
        assert last.status == 429
        assert last.body["code"] == "too_many_failures"
        assert int(last.headers["Retry-After"]) >= 1
        # A right key is held off as well when it comes from there for the first time.
        assert (await api.get("/drivers", headers=guesser)).status == 429
        assert (await api.get("/drivers")).status == 200
        assert (await nobody.get("/drivers", headers=guesser)).status == 401


async def test_what_is_old_is_forgotten(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.post("/instances", {"name": "a"}, headers={"Idempotency-Key": "k"})
    callers, now = api.services.callers, api.services.now()
    await callers.audit.forget()
    await callers.idempotency.forget()
    assert len(await entries(api)) == 1
    assert (await api.post("/instances", {"name": "a"}, headers={"Idempotency-Key": "k"})).status

    monkeypatch.setattr(callers.audit, "_now", lambda: now + KEEP + 1_000_000)
    monkeypatch.setattr(callers.idempotency, "_now", lambda: now + KEEP)
    await callers.audit.forget()
    await callers.idempotency.forget()
    assert await entries(api) == []
    again = await api.post("/instances", {"name": "a"}, headers={"Idempotency-Key": "k"})
    assert again.status == 409, "it ran again"
