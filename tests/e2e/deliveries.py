"""Deliveries as providers make them, each an order of its own."""

import asyncio
import json
from dataclasses import dataclass

from drivers import BY_SLUG
from gateway import samples
from tests.e2e.program import Answer, Program
from tests.sinks.receiver import Receiver

SECRET = "e2e-signing-secret"


@dataclass(frozen=True)
class Delivery:
    """One signed request. `query` goes behind the ingest URL."""

    body: bytes
    headers: dict[str, str]
    query: str = ""

    async def post(self, program: Program, ingest_url: str) -> Answer:
        return await program.post(ingest_url + self.query, self.body, self.headers)


def kiwify(number: int, secret: str = SECRET) -> Delivery:
    """A paid Kiwify order with an id of its own."""
    return _kiwify({"order_id": f"order-{number:06d}"}, secret)


STORY = ("pix_created", "order_approved", "order_refunded", "chargeback")


def kiwify_story(number: int, secret: str = SECRET) -> Delivery:
    """What happens to an order, of which four in a row are told: its ordering key is `key-…`."""
    told = {
        "order_id": f"key-{number // len(STORY):06d}",
        "order_ref": f"order-{number:06d}",
        "webhook_event_type": STORY[number % len(STORY)],
    }
    return _kiwify(told, secret)


def _kiwify(told: dict[str, str], secret: str) -> Delivery:
    sample = samples.load("kiwify/order_approved")
    draft = sample.signed(secret, 0)
    draft.body = json.dumps(json.loads(sample.body) | told, ensure_ascii=False).encode()
    BY_SLUG["kiwify"].scheme.sign(draft)
    return Delivery(draft.body, draft.headers, f"?signature={draft.query['signature']}")


def shopify(case: str = "orders_paid", secret: str = SECRET) -> Delivery:
    draft = samples.load(f"shopify/{case}").signed(secret, 0)
    return Delivery(draft.body, draft.headers)


async def post_all(
    program: Program, ingest_url: str, numbers: range, *, at_once: int = 50
) -> dict[int, str]:
    """Post Kiwify orders; gives the event id of each that was answered 200."""
    answered: dict[int, str] = {}
    waiting = iter(numbers)

    async def work() -> None:
        for number in waiting:
            answer = await kiwify(number).post(program, ingest_url)
            if answer.status == 200:
                answered[number] = answer.json["events"][0]["id"]

    await asyncio.gather(*(work() for _ in range(at_once)))
    return answered


def ids(receiver: Receiver) -> list[str]:
    """The ids of providers' events that arrived, in order: what the gateway says of its sinks is
    left out.
    """
    heard = (got.headers for got in receiver.got)
    return [h["webhook-id"] for h in heard if not h["X-Event-Type"].startswith("sink.")]
