"""Wake-ups: everybody hears, bursts are heard once."""

import asyncio

from gateway.store.base import Store, Topic
from tests.store.rigs import Rig


class Listener:
    """Collects what it hears."""

    def __init__(self, store: Store) -> None:
        self.heard: list[tuple[Topic, str]] = []
        self._changed = asyncio.Event()
        store.listen(self._hear)

    def _hear(self, topic: Topic, payload: str) -> None:
        self.heard.append((topic, payload))
        self._changed.set()

    async def until(self, topic: Topic, payload: str) -> None:
        async with asyncio.timeout(10):
            while (topic, payload) not in self.heard:
                self._changed.clear()
                await self._changed.wait()


async def test_every_listener_hears(store: Store) -> None:
    one, two = Listener(store), Listener(store)
    await store.notify("config", "sink/1")
    await store.notify("events", "default/loja-1")

    for listener in (one, two):
        await listener.until("config", "sink/1")
        await listener.until("events", "default/loja-1")


async def test_a_burst_is_heard_once(store: Store) -> None:
    listener = Listener(store)
    for _ in range(1000):
        await store.notify("deliveries", "")
    await store.notify("config", "end")
    await listener.until("config", "end")

    assert listener.heard.count(("deliveries", "")) <= 5
    assert ("deliveries", "") in listener.heard
    listener.heard.clear()
    await store.notify("deliveries", "")
    await listener.until("deliveries", "")


async def test_other_processes_hear(rig: Rig, store: Store) -> None:
    other = store if rig.name == "sqlite" else await rig.open("node-b")  # SQLite serves one
    listener = Listener(other)
    await store.notify("config", "sink/1")
    await listener.until("config", "sink/1")


async def test_a_failing_listener_stops_nobody(store: Store) -> None:
    def fail(topic: Topic, payload: str) -> None:
        raise RuntimeError("a listener of ours is broken")

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    store.listen(fail)
    listener = Listener(store)
    await store.notify("config", "sink/1")
    await listener.until("config", "sink/1")

    assert failures
