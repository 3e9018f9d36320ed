"""A request whose answer was lost can be sent again."""

import asyncio
from typing import Any

import pytest

from gateway.idempotency import ABANDONED
from tests.api.rig import Api

KEY = {"Idempotency-Key": "a-key"}
WISH = {"name": "k", "permissions": ["EVENTS_READ"]}


async def test_the_answer_is_the_first_one(api: Api) -> None:
    await first_one(api)


async def test_the_answer_is_the_first_one_on_postgres(api_on_postgres: Api) -> None:
    await first_one(api_on_postgres)


async def first_one(api: Api) -> None:
    first = await api.post("/api-keys", WISH, headers=KEY)
    again = await api.post("/api-keys", WISH, headers=KEY)

    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len((await api.get("/api-keys")).data) == 1
    assert len((await api.get("/audit")).data) == 1
    rows = await api.services.store.database.fetch("SELECT answer FROM idempotency")
    assert first.data["key"] not in str(rows)


async def test_many_at_once_are_carried_out_once(api: Api) -> None:
    answers = await asyncio.gather(*(api.post("/api-keys", WISH, headers=KEY) for _ in range(8)))

    assert {a.status for a in answers} <= {201, 409}
    assert len((await api.get("/api-keys")).data) == 1


async def test_a_key_is_of_one_caller_and_one_request(api: Api) -> None:
    other = await api.limited("KEYS_MANAGE", "EVENTS_READ")
    assert (await api.post("/api-keys", WISH, headers=KEY)).status == 201
    assert (await other.post("/api-keys", WISH, headers=KEY)).status == 201
    reused = await api.post("/instances", {"name": "loja"}, headers=KEY)

    assert reused.status == 422
    assert reused.body["code"] == "idempotency_key_reused"


async def test_after_a_failure_the_key_is_free(api: Api) -> None:
    assert (await api.post("/api-keys", {"name": ""}, headers=KEY)).status == 422
    assert (await api.post("/api-keys", WISH, headers=KEY)).status == 201


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "\u00e9", "a\tb"])
async def test_what_is_no_key_is_refused(api: Api, key: str) -> None:
    answer = await api.post("/api-keys", WISH, headers={"Idempotency-Key": key})

    assert answer.status == 400
    assert answer.body["code"] == "invalid_idempotency_key"
    assert (await api.get("/api-keys")).data == []


async def test_what_was_left_by_a_dead_process_is_taken_over(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: Any = api.services.callers.idempotency
    await api.services.store.database.write("DELETE FROM idempotency RETURNING digest")
    assert (await api.post("/api-keys", WISH, headers=KEY)).status == 201
    await api.services.store.database.write("UPDATE idempotency SET answer = '' RETURNING digest")

    assert (await api.post("/api-keys", WISH, headers=KEY)).status == 409
    now = api.services.now()
    monkeypatch.setattr(remembered, "_now", lambda: now + ABANDONED + 1_000_000)
    assert (await api.post("/api-keys", WISH, headers=KEY)).status == 201
