"""What the libraries alone reach on this machine, now: the ceilings that ratios are taken of."""

import asyncio
import sys
import time

import aiohttp
import orjson
import uvloop
from aiohttp import web


async def bare_handler(port: int) -> None:
    """H: an aiohttp POST handler that reads the body and answers JSON, and nothing else."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(
            body=orjson.dumps({"received": len(body)}), content_type="application/json"
        )

    app = web.Application()
    app.router.add_post("/hooks/{driver}/{token}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


async def bare_client(port: int, body: bytes, count: int, connections: int) -> float:
    """C: requests a second of an aiohttp client, as many at once as the lane of a sink has."""
    left = iter(range(count))
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

        async def work() -> None:
            for _ in left:
                url = f"http://127.0.0.1:{port}/hook"
                async with session.post(url, data=body, headers={"X-Event-Type": "a"}) as answer:
                    await answer.read()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        return count / (time.perf_counter() - started)


if __name__ == "__main__":
    uvloop.run(bare_handler(int(sys.argv[1])))
