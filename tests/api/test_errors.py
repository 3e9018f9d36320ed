"""Whatever goes wrong is answered in one shape, and never with a trace."""

import gzip
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web

from gateway.api.route import MAX_API_BODY
from tests.api.rig import Answer, Api

KEYS = {"error", "code", "message", "details"}
JSON = {"Content-Type": "application/json"}


def told(answer: Answer, status: int, error: str) -> Any:
    assert answer.status == status
    assert set(answer.body) >= KEYS
    assert answer.body["error"] == error
    return answer.body


async def sent(api: Api, body: bytes, **headers: str) -> Answer:
    """To a route that reads a body."""
    headers = {"apikey": api.key or ""} | headers
    async with api.session.post(api.url + "/instances", data=BytesIO(body), headers=headers) as got:
        return Answer(got.status, await got.json(), got.headers)


async def test_what_is_not_there(api: Api) -> None:
    told(await api.get("/nowhere"), 404, "Not found")
    body = told(await api.delete("/drivers"), 405, "Method not allowed")
    assert body["code"] == "method_not_allowed"
    assert (await api.delete("/drivers")).headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "body",
    [b'{"name":', b"{'name':'x'}", b'{"name":"x","name":"y"}', b"NaN", b"\xff", b"[" * 200],
)
async def test_what_is_no_json(api: Api, body: bytes) -> None:
    assert told(await sent(api, body, **JSON), 400, "Bad request")["code"] == "invalid_json"


async def test_other_types_and_encodings(api: Api) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    told(await sent(api, b"name=x", **form), 415, "Unsupported media type")
    encoded = JSON | {"Content-Encoding": "br"}
    told(await sent(api, b"{}", **encoded), 415, "Unsupported media type")
    plain = await sent(api, b'{"name":"loja"}', **{"Content-Type": "text/plain"})
    assert plain.status == 201
    zipped = gzip.compress(b'{"name":"outra"}')
    assert (await sent(api, zipped, **(JSON | {"Content-Encoding": "gzip"}))).status == 201
    cut = await sent(api, zipped[:-9], **(JSON | {"Content-Encoding": "gzip"}))
    assert told(cut, 400, "Bad request")["code"] == "invalid_encoding"


async def test_too_much(api: Api) -> None:
    large = b'{"name":"' + b"x" * MAX_API_BODY + b'"}'
    told(await sent(api, large, **JSON), 413, "Payload too large")


async def test_the_unforeseen_has_an_id_and_no_trace(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(api.services.history.__class__, "events", broken)
    body = told(await api.get("/processing/events"), 500, "Internal error")

    assert body["id"] in body["message"]
    assert "secret" not in str(body)
    assert "42" not in str(body).replace(body["id"], "")  # an id may hold any two digits
    assert body["id"] in capsys.readouterr().out


async def test_errors_that_aiohttp_has_no_words_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def teapot(*_: object, **__: object) -> None:
        raise web.HTTPUnprocessableEntity(reason="Not like that")

    monkeypatch.setattr(api.services.history.__class__, "events", teapot)

    assert told(await api.get("/processing/events"), 422, "Not like that")["code"] == "error"


async def test_a_store_that_is_away(api: Api) -> None:
    await api.services.store.close()
    answer = await api.get("/processing/events")

    told(answer, 503, "Unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await api.get("/drivers/names")).status == 200, "nothing stored is asked for"


async def test_what_is_counted_waits_for_the_store(api: Api) -> None:
    limited = await api.limited()
    await limited.get("/drivers/names")
    services = api.services
    services.drift.note("default", "hotmart", ["missing:a"], "in1")
    await services.store.close()

    await services.drift.flush()
    await services.drift.flush()
    await services.key_use.flush()
    assert services.drift.unwritten == 1
