"""The sink endpoints: set, find, list, test, status, delete — one small vocabulary for six kinds,
answering what Evolution API's clients know how to read.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from aiohttp import web

from gateway.api.auth import presented_key
from gateway.api.doc import Doc, Schema
from gateway.api.route import ANY_KEY, Call, Handler, Route, respond
from gateway.api.sink_body import Identity, Merged, merge_body, rotate_secret
from gateway.api.sink_docs import doc_of, sink_row
from gateway.api.sink_row import empty_row, row
from gateway.api.sink_rules import Rules
from gateway.api.sink_status import SinkStatus, status_of
from gateway.api.sink_test import SinkTrial, send_test
from gateway.sink_life import cancel_pending
from schemas.errors import BadRequestError, ConflictError, NotFoundError
from schemas.sink_config import KINDS, Kind, SinkConfig, WebhookConfig
from schemas.target import AllowList

DEFAULT = "default"
SINK_NAME_LENGTH = 64
OVERLAP_SECONDS = 86_400
LONGEST_OVERLAP = 366 * 86_400


def _place(call: Call) -> tuple[str, str]:
    """The instance and sink name of the path."""
    instance, name = call.instance(), call.request.match_info.get("name", DEFAULT)
    if name != DEFAULT:
        call.check_name(name, "a sink name")
    return instance, name


def _found(call: Call, kind: Kind) -> SinkConfig:
    instance, name = _place(call)
    config = call.services.directory.find_sink(call.principal.tenant, kind, instance, name)
    if config is None:
        raise NotFoundError(f"instance {instance} has no {kind} sink named {name}")
    return config


def new_secret(random: Callable[[int], bytes]) -> str:
    """A signing secret as Standard Webhooks spells it."""
    return "whsec_" + b64encode(random(32)).decode()


def rules_of(call: Call) -> Rules:
    """What bodies are judged by on this server."""
    services = call.services
    return Rules(
        new_secret=partial(new_secret, services.random),
        allow=AllowList.parse(services.settings.allow_targets),
        require_https=services.settings.require_https,
        public_url=services.settings.base_url,
        server_wide=services.sink_context.server_wide,
    )


async def _set(kind: Kind, call: Call) -> web.Response:
    instance, name = _place(call)
    body = await call.json()
    if not isinstance(body, dict):
        raise BadRequestError(f"send a JSON object that configures the {kind} sink")
    services, tenant = call.services, call.principal.tenant

    def merge() -> Merged:
        stored = services.directory.find_sink(tenant, kind, instance, name)
        ident = stored.id if stored else services.ids()
        identity = Identity(id=ident, tenant=tenant, instance=instance, name=name)
        return merge_body(
            kind, body, stored, identity=identity, now=services.now(), rules=rules_of(call)
        )

    merge()  # what is refused must not make an instance
    await services.directory.ensure_instance(tenant, instance, services.ids)
    merged = merge()  # over what somebody may have set meanwhile
    saved = await services.directory.save_sink(_with_apikey(merged.config, call))
    services.dispatcher.wake()
    return respond(row(saved, warnings=merged.warnings, reveal_secret=True), 201)


def _with_apikey(config: SinkConfig, call: Call) -> SinkConfig:
    """The configuration with the key it was made with, if its envelopes are to hold one."""
    key = (presented_key(call.request) or config.apikey) if config.include_apikey else None
    return config.model_copy(update={"apikey": key})


async def _find(kind: Kind, call: Call) -> web.Response:
    instance, name = _place(call)
    config = call.services.directory.find_sink(call.principal.tenant, kind, instance, name)
    return respond(empty_row(kind, instance, name) if config is None else row(config))


async def _list(kind: Kind, call: Call) -> web.Response:
    instance = call.instance()
    sinks = call.services.directory.sinks_of(call.principal.tenant, instance)
    return respond([row(s) for s in sinks if s.kind == kind])


async def _delete(kind: Kind, call: Call) -> web.Response:
    instance, name = _place(call)
    directory = call.services.directory
    config = directory.find_sink(call.principal.tenant, kind, instance, name)
    if config is not None:
        await directory.remove("sink", config.id)
        await cancel_pending(call.services.store.database, config.id)
    return web.Response(status=204)


async def _test(kind: Kind, call: Call) -> web.Response:
    return respond((await send_test(call.services, _found(call, kind))).model_dump())


async def _status(kind: Kind, call: Call) -> web.Response:
    return respond((await status_of(call.services, _found(call, kind))).model_dump())


async def _rotate(call: Call) -> web.Response:
    config = _found(call, "webhook")
    body: Any = await call.json()
    overlap: Any = body.get("overlap_seconds", OVERLAP_SECONDS) if isinstance(body, dict) else None
    is_number = isinstance(overlap, int | Decimal) and not isinstance(overlap, bool)
    if not is_number or not 0 <= overlap <= LONGEST_OVERLAP:
        raise BadRequestError(f"overlap_seconds is a number from 0 to {LONGEST_OVERLAP}")
    if not isinstance(config, WebhookConfig):
        raise ConflictError("only webhooks sign")
    services = call.services
    fresh = rotate_secret(
        config, new_secret(services.random), now=services.now(), overlap=float(overlap)
    )
    saved = await services.directory.save_sink(fresh)
    return respond(row(saved, reveal_secret=True))


def _rotation() -> Schema:
    """The body of rotate-secret."""
    most = {"minimum": 0, "maximum": LONGEST_OVERLAP, "default": OVERLAP_SECONDS}
    overlap = {"type": "number", "description": "how much longer the old secret signs", **most}
    return {
        "title": "SigningSecretRotation",
        "type": "object",
        "properties": {"overlap_seconds": overlap},
    }


def _routes(kind: Kind) -> list[Route]:
    made: list[Route] = []

    def add(method: Any, action: str, handler: Handler, summary: str, **more: Any) -> None:
        permission = more.pop("permission", "SINKS_MANAGE")
        named = more.pop("named", True)
        place = f"/{kind}/{action}/{{instance}}"
        made.extend(
            Route(
                method=method,
                path=path,
                handler=handler,
                permission=permission,
                summary=summary,
                tag=kind,
                evolution=True,
                doc=doc_of(kind, action, method),
                **more,
            )
            for path in ((place, place + "/{name}") if named else (place,))
        )

    created = {"status": 201, "answers": {409: "there is nothing to connect to"}}
    add("POST", "set", partial(_set, kind), f"Configure the {kind} sink", **created)
    add("PUT", "set", partial(_set, kind), f"Configure the {kind} sink", **created)
    add("DELETE", "set", partial(_delete, kind), f"Remove the {kind} sink", status=204)
    add("GET", "find", partial(_find, kind), f"The {kind} sink", permission=ANY_KEY)
    add(
        "POST", "test", partial(_test, kind), "Send a test event through the sink", answer=SinkTrial
    )
    add(
        "GET",
        "status",
        partial(_status, kind),
        "How the sink is doing",
        permission=ANY_KEY,
        answer=SinkStatus,
    )
    add("GET", "list", partial(_list, kind), f"Every {kind} sink", permission=ANY_KEY, named=False)
    return made


ROUTES: tuple[Route, ...] = (
    *(route for kind in KINDS for route in _routes(kind)),
    *(
        Route(
            method="POST",
            path=path,
            handler=_rotate,
            permission="SINKS_MANAGE",
            summary="Give the webhook a new signing secret; both sign for `overlap_seconds`",
            tag="webhook",
            evolution=True,
            doc=Doc(
                body=_rotation,
                optional=True,
                answer=partial(sink_row, "webhook"),
                examples={"The old one signs for an hour more": {"overlap_seconds": 3600}},
            ),
        )
        for path in (
            "/webhook/rotate-secret/{instance}",
            "/webhook/rotate-secret/{instance}/{name}",
        )
    ),
)
