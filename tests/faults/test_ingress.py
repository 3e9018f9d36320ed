"""Callers who trickle, bombs, and payloads that are poison: rows 16 and 23."""

import asyncio
import gzip
from typing import Any

import pytest

from drivers import BY_SLUG
from gateway import samples
from gateway.crash import EXIT_CODE
from gateway.journal import DEATHS, REASON
from tests.e2e.deliveries import SECRET
from tests.e2e.program import Program
from tests.faults.conftest import Scene
from tests.faults.provider import Provider
from tests.faults.test_sinks import MEGABYTE, memory
from tests.sinks.receiver import until

TRICKLERS = 20


async def held(port: int, head: bytes) -> tuple[bytes, bool]:
    """What a caller is told who says this much and then a byte now and then; whether it is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    answer = asyncio.ensure_future(reader.read())
    try:
        async with asyncio.timeout(40):
            while not answer.done():
                writer.write(b"a")
                await asyncio.wait({answer}, timeout=1)
        return answer.result(), True
    except ConnectionError:
        return b"", True
    finally:
        answer.cancel()
        writer.close()


@pytest.mark.fault(23)
async def test_tricklers_are_cut_and_bombs_are_told_so(node: Program, scene: Scene) -> None:
    await node.start()
    provider = await scene.provider(node)
    await provider.tell_all(range(20))
    before = memory(node)
    line = f"POST {provider.path} HTTP/1.1\r\nHost: x\r\n"
    in_body = line + "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    heads = [line.encode(), in_body.encode()] * TRICKLERS
    callers = asyncio.gather(*(held(node.port, head) for head in heads))

    bomb = gzip.compress(bytes(1 << 30), 9) if scene.full else gzip.compress(bytes(64 << 20), 9)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bombs = [node.post(node.url + provider.path, bomb, headers) for _ in range(10)]
    assert {answer.status for answer in await asyncio.gather(*bombs)} == {413}
    await provider.tell_all(range(20, 60))  # while all the tricklers hold on
    assert not callers.done()

    answers = await callers
    assert all(over for _, over in answers)
    assert all(told == b"" or b" 400 " in told for told, _ in answers[::2])
    assert all(b" 408 " in told for told, _ in answers[1::2])
    await scene.all_arrived()
    grown = memory(node) - before
    assert grown < 50 * MEGABYTE
    note = f"RSS +{grown / MEGABYTE:.0f} MB"
    found = await scene.audit(node)
    scene.report("slow-loris and bombs", found, tries=len(answers) + len(bombs), note=note)


async def poison(node: Program, provider: Provider, body: bytes) -> Any:
    """A body that is genuine, and no order."""
    draft = samples.load("kiwify/order_approved").signed(SECRET, 0)
    draft.body = body
    BY_SLUG["kiwify"].scheme.sign(draft)
    url = f"{node.url}{provider.path}?signature={draft.query['signature']}"
    return await node.post(url, body, draft.headers)


@pytest.mark.fault(16)
async def test_poison_is_kept_apart_and_the_rest_goes_on(node: Program, scene: Scene) -> None:
    await node.start()
    provider = await scene.provider(node)
    venom = [b"{}", b'{"order_id":[[[[]]]]}', b"[" * 3000, b'{"order_id":{"a":NaN}}', b"\xff{"]
    for number, body in enumerate(venom):
        answer = await poison(node, provider, body)
        assert answer.status == 200, answer.body
        assert answer.json["quarantined"] is True
        await provider.insist(number)
    listed = await node.data("GET", "/processing/webhooks?filter[outcome]=quarantined")
    assert len(listed) == len(venom)
    assert all(inbound["reason"] for inbound in listed)
    assert node.process
    assert node.process.returncode is None
    await scene.all_arrived()
    scene.report("poison at ingress", await scene.audit(node), tries=len(venom))


@pytest.mark.fault(16)
async def test_a_delivery_that_kills_its_sender_is_dead_after_three(
    node: Program, scene: Scene
) -> None:
    await node.start(CRASH_AT="before_send")
    provider = await scene.provider(node)
    with scene.ledger.fault():
        poisonous = provider.fresh()
        await provider.tell(poisonous)
        for _ in range(DEATHS - 1):
            assert await node.ended() == EXIT_CODE
            await node.launch(CRASH_AT="before_send")
        assert await node.ended() == EXIT_CODE
        await node.start()
    await provider.insist(poisonous)
    assert poisonous in provider.known
    others = [provider.fresh() for _ in range(5)]
    await provider.tell_all(others)
    [dead] = await node.data("GET", "/processing/dispatches?filter[status]=dead")
    assert dead["reason"] == REASON
    await until(lambda: len(scene.witness.ids) == len(others))
    found = await scene.audit(node)
    assert (found.delivered, found.dead) == (len(others), 1)
    scene.report("poison that kills its sender", found, tries=DEATHS)
