"""Which chats of the Evolution channel had a message: upstream tells a first one differently."""

from __future__ import annotations

from collections import OrderedDict

from gateway.models import Instance
from gateway.store.base import Database

MOST = 10_000
FIND = """
SELECT 1 FROM events WHERE tenant = $1 AND key = $2 AND instance = $3 AND name = 'chats.upsert'
LIMIT 1"""


class Chats:
    """The store knows; the chats that were asked about last are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def knows(self, instance: Instance, chat: str) -> bool:
        """Whether the chat had a message before."""
        if (instance.id, chat) in self._known:
            self._known.move_to_end((instance.id, chat))
            return True
        return bool(await self._database.fetch(FIND, instance.tenant, chat, instance.name))

    def learn(self, instance: Instance, chat: str) -> None:
        """It has one now."""
        self._known[instance.id, chat] = None
        if len(self._known) > MOST:
            self._known.popitem(last=False)
