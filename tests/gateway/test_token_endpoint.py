"""What a token endpoint may answer, and what that means."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from drivers import BY_SLUG
from gateway.driver_setup import OAuthClient
from gateway.egress import Egress
from gateway.models import Installation
from gateway.oauth import challenge
from gateway.provider_api import ApiError
from gateway.token_endpoint import TokenEndpoint
from schemas.target import AllowList
from tests.sinks.given import wall_clock
from tests.sinks.receiver import Receiver, receiving

LOOPBACK = AllowList.parse(("127.0.0.0/8",))
CLIENT = OAuthClient("client-1", "secret-1")


@pytest.fixture
async def provider() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def refreshed(url: str, allow: AllowList = LOOPBACK) -> str:
    """The access token that a refresh brings."""
    async with Egress(allow=LOOPBACK) as egress:
        endpoint = TokenEndpoint(egress, allow, wall_clock)
        one = Installation(
            id="i1",
            tenant="default",
            driver="bling",
            instance="loja",
            name="Bling",
            settings={"api_base_url": url},
        )
        token = await endpoint.refresh(BY_SLUG["bling"], one, CLIENT, "refresh-1")
        return token.access_token


@pytest.mark.parametrize(
    ("status", "body", "headers", "permanent", "after", "said"),
    [
        (400, '{"error":"invalid_grant"}', {}, True, None, "HTTP 400 (invalid_grant)"),
        (401, "<html>no</html>", {}, True, None, "HTTP 401"),
        (403, '{"error":{"type":"x","description":"y"}}', {}, True, None, "HTTP 403 (x: y)"),
        (404, "[]", {}, True, None, "HTTP 404"),
        (302, "", {"Location": "https://x.example"}, True, None, "HTTP 302"),
        (429, "", {"Retry-After": "7"}, False, 7.0, "HTTP 429"),
        (429, "", {}, False, 30.0, "HTTP 429"),
        (503, "", {}, False, 30.0, "HTTP 503"),
        (500, '{"error":"server_error"}', {}, False, None, "HTTP 500 (server_error)"),
        (408, "", {}, False, None, "HTTP 408"),
        (200, "", {}, False, None, "the answer holds no token"),
        (200, "null", {}, False, None, "the answer holds no token"),
        (200, '"token"', {}, False, None, "the answer holds no token"),
        (200, '{"access_token":""}', {}, False, None, "the answer holds no token"),
        (200, '{"access_token":"a","expires_in":"soon"}', {}, False, None, "holds no token"),
        (200, '{"access_token":null}', {}, False, None, "the answer holds no token"),
        (200, "<html>back soon</html>", {}, False, None, "the answer holds no token"),
        (200, '{"error":"bad_verification_code"}', {}, True, None, "(bad_verification_code)"),
    ],
)
async def test_an_answer_without_a_token(
    provider: Receiver,
    *,
    status: int,
    body: str,
    headers: dict[str, str],
    permanent: bool,
    after: float | None,
    said: str,
) -> None:
    provider.answer = lambda _: web.Response(status=status, text=body, headers=headers)
    with pytest.raises(ApiError) as raised:
        await refreshed(provider.url)

    error = raised.value
    assert (error.permanent, error.after) == (permanent, after)
    assert said in error.reason
    assert "secret-1" not in error.reason


async def test_what_a_provider_explains_is_cut_and_printable(provider: Receiver) -> None:
    told = {"error": "x\u0000\n" + "y" * 900}
    provider.answer = lambda _: web.json_response(told, status=400)
    with pytest.raises(ApiError) as raised:
        await refreshed(provider.url)

    assert raised.value.reason.isprintable()
    assert len(raised.value.reason) < 250


async def test_a_number_with_a_fraction_is_a_lifetime_too(provider: Receiver) -> None:
    told = '{"access_token":"a","expires_in":3599.5}'
    provider.answer = lambda _: web.Response(text=told)

    assert await refreshed(provider.url) == "a"


async def test_an_outage_may_end(provider: Receiver) -> None:
    url = provider.url
    await provider.stop()
    with pytest.raises(ApiError) as raised:
        await refreshed(url)

    assert not raised.value.permanent
    assert raised.value.reason.startswith("connect")


@pytest.mark.parametrize("base", ["https://8.8.8.8", "https://x.example", "not a url"])
async def test_the_clients_secret_goes_to_listed_hosts_only(base: str) -> None:
    with pytest.raises(ApiError, match="COMPORTA_ALLOW_TARGETS") as raised:
        await refreshed(base)

    assert raised.value.permanent


def test_the_challenge_is_that_of_the_rfc() -> None:
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
