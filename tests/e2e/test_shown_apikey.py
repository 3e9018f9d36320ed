"""`include_apikey`: receivers see the key that configured the sink, and nobody else does."""

import json
from typing import Any

from tests.e2e.program import KEY, Program
from tests.sinks.receiver import Receiver, until


async def a_key(program: Program, name: str) -> str:
    wish = {"name": name, "permissions": ["SINKS_MANAGE"]}
    return str((await program.data("POST", "/api-keys", wish))["key"])


async def shown(program: Program, receiver: Receiver) -> Any:
    """The `apikey` of the next envelope."""
    receiver.got.clear()
    body = {"event": "call", "data": {"id": "1"}}
    assert (await program.call("POST", "/webhook/evolution/loja-1", body)).status == 200
    await until(lambda: bool(receiver.got))
    return json.loads(receiver.got[0].body)["apikey"]


async def test_the_envelope_shows_who_configured_the_sink(
    comporta: Program, receiver: Receiver
) -> None:
    first, second = await a_key(comporta, "first"), await a_key(comporta, "second")
    path, config = "/webhook/set/loja-1", {"url": receiver.url}

    async def configure(key: str, **more: Any) -> Any:
        told = await comporta.call("POST", path, config | more, key=key)
        assert told.status == 201, told.body
        for secret in (first, second, KEY):
            assert secret.encode() not in told.body
        return told.json

    assert "apikey" not in await configure(first)
    assert await shown(comporta, receiver) is None
    told = await configure(first, include_apikey=True)
    assert told["apikey"].endswith(first[-4:])
    assert await shown(comporta, receiver) == first
    assert (await configure(second, apikey=told["apikey"]))["apikey"].endswith(second[-4:])
    assert await shown(comporta, receiver) == second
    assert "apikey" not in await configure(KEY, include_apikey=False)
    assert await shown(comporta, receiver) is None
    await configure(KEY, include_apikey=True)
    assert await shown(comporta, receiver) == KEY
    found = await comporta.call("GET", "/webhook/find/loja-1")
    assert KEY.encode() not in found.body
    files = [path.read_bytes() for path in (comporta.folder / "data").glob("comporta.db*")]
    assert not [text for text in files for key in (first, second, KEY) if key.encode() in text]
