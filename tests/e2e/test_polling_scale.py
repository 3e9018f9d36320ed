"""Two processes share two hundred installations: each is asked for once, by either."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.e2e.program import program
from tests.provider_apis import woocommerce
from tests.provider_apis.server import Asked, Reply, serving_api
from tests.provider_apis.woocommerce import WooCommerce
from tests.sinks.receiver import until

SHOPS = 200
PAIR = {"consumer_key": woocommerce.KEY, "consumer_secret": woocommerce.SECRET}
RESTING = "SELECT count(*) FROM jobs WHERE kind = 'poll' AND owner IS NULL AND due_at > $1"
AGAIN = "UPDATE jobs SET due_at = 0 WHERE kind = 'poll'"


@dataclass
class Mall(WooCommerce):
    """Many stores under one roof. `swept`: how often each was asked what changed."""

    swept: Counter[str] = field(default_factory=Counter)

    def routes(self) -> Any:
        return [("GET", r"/shop-(\d+)/wp-json/wc/v3/orders", self.shop)]

    def shop(self, asked: Asked, name: str) -> Reply:
        self.swept[name] += "modified_after" in asked.query
        return Reply([])


async def test_each_is_polled_once_per_interval(tmp_path: Path, postgres_db: str) -> None:
    names = [str(number) for number in range(SHOPS)]
    database = await asyncpg.connect(postgres_db)
    try:
        async with (
            serving_api(Mall()) as mall,
            program(tmp_path, STORE=postgres_db, WORKERS="2") as comporta,
        ):
            await comporta.start()
            room = asyncio.Semaphore(10)

            async def install(name: str) -> None:
                settings = {"store_url": f"{mall.url}/shop-{name}", "poll_interval": 600}
                settings["api_base_url"] = mall.url
                async with room:
                    await comporta.install(
                        "woocommerce",
                        "mall",
                        credentials={**PAIR, "secret": "s3cret"},
                        settings=settings,
                    )

            await asyncio.gather(*map(install, names))
            for rounds in (1, 2, 3):
                await until(lambda: len(mall.swept) == SHOPS, patience=40)
                await until(lambda: min(mall.swept.values()) >= rounds, patience=40)  # noqa: B023 - it is waited for
                async with asyncio.timeout(40):
                    now = await database.fetchval("SELECT comporta_now(NULL)")
                    while await database.fetchval(RESTING, now) < SHOPS:
                        await asyncio.sleep(0.05)
                assert dict(mall.swept) == dict.fromkeys(names, rounds)
                await database.execute(AGAIN)
    finally:
        await database.close()
