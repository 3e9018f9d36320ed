"""`comporta listen`: the events of an instance as they come, one JSON line each, for people and
pipes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from urllib.parse import quote

import aiohttp

from gateway.admin_client import AdminClient, AdminError

AGAIN = 2.0  # seconds until a lost connection is tried again


async def listen(
    client: AdminClient, instance: str, events: str, write: Callable[[str], None]
) -> None:
    """Write every event from now on, for ever; a lost connection goes on where it was.

    Raises AdminError when the gateway refuses or is not there at the start.
    """
    last = ""
    async with aiohttp.ClientSession(headers={"apikey": client.key}) as session:
        while True:
            url = f"{client.base_url}/ws/{quote(instance, safe='')}"
            query = {"events": events, "since": last}
            try:
                async with session.ws_connect(
                    url, params={k: v for k, v in query.items() if v}, heartbeat=30
                ) as socket:
                    last = await _read(socket, last, write)
            except aiohttp.WSServerHandshakeError as error:
                raise AdminError(_refusal(error.status, instance)) from None
            except aiohttp.ClientError as error:
                if not last:
                    raise AdminError(f"no gateway answers at {client.base_url} ({error})") from None
            await asyncio.sleep(AGAIN)


def _refusal(status: int, instance: str) -> str:
    """Why a socket was not opened; its answer has no words that a client is shown."""
    told = {
        401: "the API key is not valid",
        403: f"the API key may not read the events of {instance}",
        404: f"{instance} is no instance, or nobody listens to it yet: "
        f"POST /websocket/set/{instance}",
    }
    return f"the gateway answered {status}" + (f": {told[status]}" if status in told else "")


async def _read(
    socket: aiohttp.ClientWebSocketResponse, last: str, write: Callable[[str], None]
) -> str:
    """Write what comes until the connection ends; gives the id of the last event."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            write(message.data)
            last = json.loads(message.data).get("id", last)
    return last
