"""A browser without JavaScript: cookies, links and forms."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

import aiohttp

from tests.api.rig import ADMIN, Api

TOKEN = re.compile(r'name="csrf" value="([^"]+)"')
HEADERS = {"Accept-Language": "en", "Accept": "text/html"}


@dataclass(frozen=True)
class Seen:
    """A page, or a redirect."""

    status: int
    text: str
    headers: Any

    @property
    def refused(self) -> list[str]:
        """What the page says is wrong."""
        told = re.findall(r'(?:class="error"|role="alert")(.*?)</(?:p|div)>', self.text, re.DOTALL)
        return [re.sub(r"<[^>]*>", " ", one) for one in told]

    @property
    def token(self) -> str:
        found = TOKEN.search(self.text)
        assert found, self.text
        return unescape(found[1])


@dataclass
class Visitor:
    """One visitor with cookies of its own."""

    api: Api
    session: aiohttp.ClientSession

    @classmethod
    @asynccontextmanager
    async def of(cls, api: Api) -> AsyncIterator["Visitor"]:
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of an address, not a name
        async with aiohttp.ClientSession(cookie_jar=jar, headers=HEADERS) as session:
            yield cls(api, session)

    async def see(self, place: str = "", *, follow: bool = True, site: str = "") -> Seen:
        url = f"{self.api.url}/portal{place}"
        headers = {"Sec-Fetch-Site": site} if site else {}
        async with self.session.get(url, allow_redirects=follow, headers=headers) as got:
            return Seen(got.status, await got.text(), got.headers)

    async def post(self, place: str, token: str, **fields: str) -> Seen:
        url = f"{self.api.url}/portal{place}"
        data = {"csrf": token} | fields
        async with self.session.post(url, data=data, allow_redirects=False) as got:
            return Seen(got.status, await got.text(), got.headers)

    async def token(self) -> str:
        """Of the session, from a page that everybody may see."""
        return (await self.see("/menu")).token

    async def sign_in(self, key: str = ADMIN) -> Seen:
        form = await self.see("/sign-in")
        return await self.post("/sign-in", form.token, key=key)
