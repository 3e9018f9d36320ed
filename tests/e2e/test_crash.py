"""What was answered 200 arrives, whatever happens to the process."""

import asyncio
import signal

import aiohttp

from tests.e2e.deliveries import SECRET, ids, kiwify, post_all
from tests.e2e.program import Program
from tests.sinks.receiver import Receiver, until


async def test_kill_after_a_thousand_answers_loses_none(
    comporta: Program, receiver: Receiver
) -> None:
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("kiwify", "loja-1", SECRET)

    answered = await post_all(comporta, shop["ingest_url"], range(1000))
    await comporta.kill()
    assert len(answered) == 1000

    await comporta.start()
    await until(lambda: set(answered.values()) <= set(ids(receiver)), patience=60)
    assert set(ids(receiver)) == set(answered.values())


async def test_kill_with_the_sink_down_keeps_the_backlog(
    comporta: Program, receiver: Receiver
) -> None:
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("kiwify", "loja-1", SECRET)
    await receiver.stop()
    answered = await post_all(comporta, shop["ingest_url"], range(200))
    await comporta.kill()
    await comporta.start()
    await receiver.start()
    await until(lambda: set(answered.values()) <= set(ids(receiver)), patience=60)


async def test_sigterm_under_load_ends_cleanly(comporta: Program, receiver: Receiver) -> None:
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("kiwify", "loja-1", SECRET)
    load = asyncio.create_task(_until_refused(comporta, shop["ingest_url"]))
    await until(lambda: len(receiver.got) > 100)

    assert await comporta.end(signal.SIGTERM) == 0

    answered = await load
    await comporta.start()
    await until(lambda: answered <= set(ids(receiver)), patience=30)
    assert len(ids(receiver)) == len(set(ids(receiver)))


async def _until_refused(program: Program, url: str) -> set[str]:
    """Post until the door is closed; the ids that were answered."""
    answered: set[str] = set()

    async def work(start: int) -> None:
        for number in range(start, start + 5000):
            try:
                answer = await kiwify(number).post(program, url)
            except (OSError, aiohttp.ClientError):
                return
            if answer.status == 503:
                return
            assert answer.status == 200, answer.body
            answered.add(answer.json["events"][0]["id"])

    await asyncio.gather(*(work(i * 10_000) for i in range(20)))
    return answered
