"""The state of an authorization: signed, good once, for an hour; and PKCE beside it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.api.oauth_page import BEGIN_AGAIN, TEXTS
from tests.api.owner import Owner, query_of
from tests.api.rig import Api
from tests.provider_apis.oauth import Shopify, Stripe, authority


class TestState:
    """Signed, good once, for an hour, for one installation."""

    async def test_it_is_fresh_each_time_it_is_shown(self, owner: Owner) -> None:
        made = await owner.installs()
        again = await owner.looks_at(made)
        (listed,) = (await owner.api.get("/installations")).data
        asked = (await owner.api.post(f"/installations/{made['id']}/authorize")).data

        urls = [one["auth_url"] for one in (made, again, listed, asked)]
        assert len({query_of(url)["state"] for url in urls}) == 4
        assert asked["status"] == "pending_auth"
        await owner.authorises(again)

    async def test_it_works_once_and_so_do_its_siblings(self, owner: Owner) -> None:
        made = await owner.installs()
        sibling = await owner.looks_at(made)
        query = owner.provider.grant(made["auth_url"])
        assert (await owner.comes_back(query)).status == 302

        for used in (query, owner.provider.grant(sibling["auth_url"])):
            answer = await owner.comes_back(used)
            assert answer.status == 400
            assert answer.body["code"] == "state_used"
        assert len(owner.provider.asked) == 1
        assert (await owner.looks_at(made))["status"] == "active"

    async def test_of_two_at_the_same_moment_one_wins(self, owner: Owner) -> None:
        made = await owner.installs()
        queries = [owner.provider.grant(made["auth_url"]) for _ in range(4)]
        answers = await asyncio.gather(*map(owner.comes_back, queries))

        assert sorted(answer.status for answer in answers) == [302, 400, 400, 400]
        assert len(owner.provider.asked) == 1

    async def test_one_that_was_changed_is_not_ours(self, owner: Owner) -> None:
        made, other = await owner.installs(), await owner.installs()
        state = query_of(made["auth_url"])["state"]
        ident, used, expires, nonce, signature = state.split(".")
        forged = [
            "",
            "x",
            state[:-1] + ("0" if state[-1] != "0" else "1"),
            ".".join((other["id"], used, expires, nonce, signature)),
            f"{ident}.1.{expires}.{nonce}.{signature}",
            ".".join((ident, used, str(int(expires) + 1), nonce, signature)),
            state + "\n",
        ]
        for text in forged:
            answer = await owner.api.get(
                "/oauth/bling/callback", params={"state": text, "code": "c"}
            )
            assert answer.status == 400, text
            assert answer.body["code"] == "invalid_state"
        assert owner.provider.asked == []
        assert (await owner.looks_at(made))["status"] == "pending_auth"

    async def test_it_ends_after_an_hour(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = await owner.installs()
        query, now = owner.provider.grant(made["auth_url"]), owner.api.services.now()
        states = owner.api.services.oauth._states
        monkeypatch.setattr(states, "_now", lambda: now + 3601 * 1_000_000)
        answer = await owner.comes_back(query)

        assert answer.status == 400
        assert answer.body["code"] == "state_expired"
        monkeypatch.setattr(states, "_now", lambda: now + 3590 * 1_000_000)
        assert (await owner.comes_back(query)).status == 302

    async def test_it_is_of_one_driver(self, owner: Owner) -> None:
        made = await owner.installs()
        query = owner.provider.grant(made["auth_url"])

        assert (await owner.api.get(f"/oauth/stripe/callback?{query}")).status == 404
        assert (await owner.api.get(f"/oauth/hotmart/callback?{query}")).status == 404
        assert (await owner.api.get(f"/oauth/nobody/callback?{query}")).status == 404
        await owner.api.delete(f"/installations/{made['id']}")
        assert (await owner.comes_back(query)).status == 404

    async def test_another_process_takes_it(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing of it is kept in memory: states made by this flow are read by a new one."""
        made = await owner.installs()
        query = owner.provider.grant(made["auth_url"])
        before = owner.api.services.oauth._states
        fresh = type(before)(before._keys, before._now, before._random)
        monkeypatch.setattr(owner.api.services.oauth, "_states", fresh)

        assert (await owner.comes_back(query)).status == 302


class TestPkce:
    """Shopify and Stripe Connect as they are; their servers here check the verifier."""

    @pytest.fixture(params=["shopify", "stripe"])
    async def proving(self, api: Api, request: pytest.FixtureRequest) -> AsyncIterator[Owner]:
        kind = {"shopify": Shopify, "stripe": Stripe}[request.param]
        async with authority(kind) as provider:
            owner = Owner(api, provider, request.param)
            await owner.configures()
            yield owner

    async def test_the_code_is_good_for_whoever_began(self, proving: Owner) -> None:
        made = await proving.installs()
        asked = query_of(made["auth_url"])
        shown = await proving.authorises(made)

        assert asked["code_challenge_method"] == "S256"
        assert shown["status"] == "active"
        (sent,) = proving.provider.asked
        assert len(sent["code_verifier"]) == 43
        assert sent["code_verifier"] not in made["auth_url"]

    async def test_a_code_of_somebody_else_is_worth_nothing(self, proving: Owner) -> None:
        """What PKCE is for: a code that was stolen elsewhere, put into our callback."""
        made, other = await proving.installs(), await proving.installs()
        query = proving.provider.grant(made["auth_url"])
        codes = proving.provider.codes
        (code,) = codes
        codes[code] = replace(codes[code], challenge=query_of(other["auth_url"])["code_challenge"])
        await proving.comes_back(query)
        shown = await proving.looks_at(made)

        assert shown["status"] == "error"
        assert "invalid_grant" in shown["reason"]
        assert proving.stored(made).oauth == {}


@pytest.mark.parametrize(
    ("language", "title"),
    [("pt-BR", "Autorização não concluída"), ("en", "Authorization not completed")],
)
async def test_a_browser_gets_a_page_in_its_language(
    owner: Owner, language: str, title: str
) -> None:
    headers = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": language}
    url = f"{owner.api.url}/oauth/bling/callback?code=x&state=<script>alert(1)</script>"
    async with owner.api.session.get(url, headers=headers) as answer:
        page = await answer.text()

    assert (answer.status, answer.content_type) == (400, "text/html")
    assert f"<h1>{title}</h1>" in page
    assert f'lang="{language}"' in page
    assert "script" not in page
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src" in answer.headers["Content-Security-Policy"]


async def test_every_reason_has_words_of_its_own(owner: Owner) -> None:
    made = await owner.installs()
    query = owner.provider.grant(made["auth_url"])
    await owner.comes_back(query)
    headers = {"Accept": "text/html"}
    url = f"{owner.api.url}/oauth/bling/callback?{query}"
    async with owner.api.session.get(url, headers=headers) as answer:
        assert answer.status == 400
        assert "já foi usada" in await answer.text()
    codes = {"state_expired", "state_used", "invalid_callback", BEGIN_AGAIN}
    assert {code for code, words in TEXTS.items() if set(words) == {"pt", "en"}} == codes
