"""Somebody who installs a driver that its provider's OAuth authorises."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gateway.models import Installation
from tests.api.rig import Answer, Api
from tests.provider_apis.oauth import CLIENT_ID, CLIENT_SECRET, Authority, Shopify

REDIRECT = "https://sua-app.com/oauth/callback?de=comporta"
OAUTH = {"redirect_url": REDIRECT, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
SETTINGS = {"shopify": {"shop": Shopify.shop}}


@dataclass
class Owner:
    """Somebody who installs a driver, and the provider they have an account with."""

    api: Api
    provider: Authority
    driver: str = "bling"

    async def configures(self, **more: Any) -> None:
        answer = await self.api.put(
            f"/drivers/{self.driver}/settings", {"oauth_settings": OAUTH} | more
        )
        assert answer.status == 200, answer.body

    async def installs(self, **more: Any) -> Any:
        settings = {"api_base_url": self.provider.url} | SETTINGS.get(self.driver, {})
        return await self.api.install(self.driver, credentials={}, settings=settings | more)

    async def comes_back(self, query: str) -> Answer:
        return await self.api.get(f"/oauth/{self.driver}/callback?{query}", allow_redirects=False)

    async def authorises(self, installation: Any, **more: str) -> Any:
        """All the way; gives the installation as it is then."""
        back = await self.comes_back(self.provider.grant(installation["auth_url"], **more))
        assert back.status == 302, back.body
        assert back.headers["Location"] == REDIRECT
        return await self.looks_at(installation)

    async def looks_at(self, installation: Any) -> Any:
        return (await self.api.get(f"/installations/{installation['id']}")).data

    def stored(self, installation: Any) -> Installation:
        one = self.api.services.directory.installation(installation["id"])
        assert one
        return one

    async def events(self) -> list[Any]:
        """Name, status and reason of every event, oldest first."""
        told = []
        for item in (await self.api.get("/processing/events")).data:
            event = (await self.api.get(f"/processing/events/{item['id']}")).data
            told.append((event["name"], event["data"]["status"], event["provider_event"]))
        return told[::-1]


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
