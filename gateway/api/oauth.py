"""Where providers send owners back to. No API key: the `state` in the URL is our own signature."""

from __future__ import annotations

from aiohttp import web

from gateway.api.oauth_page import refusal_page, wants_page
from gateway.api.route import PUBLIC, Call, Route, respond
from gateway.driver_setup import driver_of
from schemas.errors import BadRequestError, NotFoundError, RequestError

# The URL holds a code: nobody keeps it, and where the owner goes on does not learn it.
PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


async def complete_oauth(call: Call) -> web.Response:
    """Exchange the code, then send the owner on to the registered address, and nowhere else."""
    try:
        answer = await _complete(call)
    except RequestError as error:
        if not wants_page(call.request):
            raise
        answer = refusal_page(call.request, error)
    answer.headers.update(PRIVATE)
    return answer


async def _complete(call: Call) -> web.Response:
    driver = driver_of(call.path("driver"))
    if driver is None or driver.oauth is None:
        raise NotFoundError("no driver of this name is authorised by OAuth")
    query = call.request.query
    if len(query) > len(set(query)):
        raise BadRequestError("the callback says something twice", code="invalid_callback")
    onward = await call.services.oauth.complete(driver, query)
    if not onward:  # the settings went while the owner was away
        return respond({"data": {"completed": True}})
    return web.Response(status=302, headers={"Location": onward})


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/oauth/{driver}/callback",
        handler=complete_oauth,
        permission=PUBLIC,
        summary="Where a provider sends an owner who granted access",
        tag="installations",
        status=302,
        query=("state", "code", "error", "error_description", "shop", "hmac", "timestamp"),
        answers={
            400: "the state is not ours, has expired or was used",
            403: "the provider's own signature does not hold",
        },
    ),
)
