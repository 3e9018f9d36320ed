"""A shop with one installation and, when wanted, a webhook: what its orders leave behind."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gateway import samples
from tests.api.rig import Answer, Api, eventually

SECRET = "the-hottok-of-these-tests"


@dataclass
class Shop:
    """One hotmart installation. `path`: its ingest URL's."""

    api: Api
    installation: Any
    path: str
    instance: str

    async def sends(self, case: str = "purchase_approved", **changed: Any) -> Answer:
        """Deliver a bundled sample, with another transaction or number when told."""
        sample = samples.load(f"hotmart/{case}")
        body = json.loads(sample.body)
        if "id" in changed:
            body["id"] = changed["id"]
        if "transaction" in changed:
            body["data"]["purchase"]["transaction"] = changed["transaction"]
        headers = {"X-Hotmart-Hottok": SECRET, "Content-Type": "application/json"}
        headers |= changed.get("headers", {})
        url = self.api.url + self.path + changed.get("query", "")
        data = json.dumps(body).encode()
        async with self.api.session.post(url, data=data, headers=headers) as got:
            return Answer(got.status, await got.json(), got.headers)

    async def order(self, number: int) -> str:
        """A paid order of its own; the id of its event."""
        answer = await self.sends(id=f"delivery-{number}", transaction=f"HP{number:08}")
        assert answer.status == 200, answer.body
        (event,) = answer.body["events"]
        assert event["event"] == "order.paid"
        assert not event["duplicate"]
        return str(event["id"])

    async def dispatch(self, event_id: str, status: str) -> Any:
        """The one delivery of an event, once it has this status."""

        async def reached() -> Any:
            (found,) = (await self.api.get(f"/processing/events/{event_id}")).data["dispatches"]
            return found if found["status"] == status else None

        return await eventually(reached)


async def opened(api: Api, instance: str = "loja", **webhook: Any) -> Shop:
    """A shop; `webhook`: the configuration of its sink."""
    if webhook:
        answer = await api.post(f"/webhook/set/{instance}", webhook)
        assert answer.status == 201, answer.body
    made = await api.install("hotmart", instance=instance, credentials={"secret": SECRET})
    path = urlsplit(made["ingest_url"]).path.removeprefix("/gw")
    return Shop(api, made, path, instance)
