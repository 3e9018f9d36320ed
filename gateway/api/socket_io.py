"""Socket.IO 4 as Evolution API serves it: namespace `/{instance}`, the event's name is upstream's
dotted one, its payload the envelope. What clients emit (`subscribe`) is ignored.

A namespace exists as soon as its instance does, and stays when its websocket sink is disabled:
clients of upstream connect before they configure. `auth.since` (or `?since=`) replays, as `/ws`
does. Long polling keeps its session in one process: behind several, clients need
`transports: ["websocket"]` or a balancer that sticks.

Imported when the first client comes, because python-socketio is heavy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from aiohttp import web
from socketio import AsyncServer
from socketio.exceptions import ConnectionRefusedError as RefusedError

from gateway import log
from gateway.api.auth import identified, presented_key
from gateway.api.live import PERMISSION, Visitor, origins, read_events, start_of
from gateway.background import Errands, forever
from gateway.push_client import FAILED, SLOW, Client, Place, Push
from gateway.security import Principal
from gateway.services import Services
from schemas.errors import (
    ForbiddenError,
    NotFoundError,
    RequestError,
    StoreUnavailableError,
    UnavailableError,
)

MAX_PACKET = 64 * 1024
AT_ONCE = 8  # packets in flight; python-engineio's client reads at most 16 from one poll
JOIN_WITHIN = 10.0  # seconds in which a session must join a namespace
SWEEP_EVERY = 2.0
CLOSE_WITHIN = 2.0
TURNS = 100  # of the event loop, from our consent to the server having told the client


class Packets:
    """Writes to one session; see `gateway.push_client.Transport`."""

    def __init__(self, server: Any, session: str) -> None:
        self._server, self._session = server, session

    async def write(self, pushes: Sequence[Push]) -> None:
        """Send them, a few at a time: the next ones when those were taken."""
        for start in range(0, len(pushes), AT_ONCE):
            for push in pushes[start : start + AT_ONCE]:
                await self._server.eio.send(self._session, push.packet)
            socket = self._server.eio.sockets.get(self._session)
            if socket is None or socket.closed:
                raise ConnectionResetError("the session is gone")
            await socket.queue.join()


def _server(allowed: Sequence[str]) -> Any:
    # It would log what strangers write. What matters to us is logged here.
    quiet = logging.getLogger("comporta.socketio")
    quiet.setLevel(logging.CRITICAL)
    return AsyncServer(  # type: ignore[no-untyped-call]  # python-socketio has no types
        async_mode="aiohttp",
        namespaces="*",
        cors_allowed_origins=list(allowed),
        max_http_buffer_size=MAX_PACKET,
        logger=quiet,
        engineio_logger=quiet,
    )


def _refusal(message: str, code: str) -> RefusedError:
    """What a client hears as `connect_error`."""
    return RefusedError(message, {"code": code})  # type: ignore[no-untyped-call]  # as above


class SocketIo:
    """The Socket.IO server of this process: `handle` its requests, `close` it at the end."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._server = _server(origins(services.settings))
        self._server.on("connect", self._connect, namespace="*")
        self._server.on("disconnect", self._disconnect, namespace="*")
        self._visits: dict[str, asyncio.Task[None]] = {}  # by client
        self._namespaces: dict[str, set[str]] = {}  # joined, by session
        self._strangers: dict[str, int] = {}  # sweeps that a session was seen without a namespace
        self._errands = Errands()
        self._sweeping = asyncio.create_task(forever("socket_io.sweep", self._sweep))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one HTTP request, or a whole websocket."""
        most = self._services.settings.websocket_max_connections
        if "sid" not in request.query and len(self._server.eio.sockets) >= most:
            raise UnavailableError("this server has no connection left", retry_after=10)
        answer: web.StreamResponse = await self._server.handle_request(request)
        return answer

    async def close(self) -> None:
        """Let go of every session."""
        self._sweeping.cancel()
        for session in list(self._server.eio.sockets):
            await self._hang_up(session)
        for serving in self._visits.values():
            serving.cancel()
        await asyncio.gather(*self._visits.values(), return_exceptions=True)
        await self._errands.close(CLOSE_WITHIN)
        await self._server.shutdown()

    async def _connect(
        self, namespace: str, sid: str, environ: Mapping[str, Any], auth: Any
    ) -> None:
        """Admit a client to a namespace, or refuse it with words it can show."""
        session = self._server.manager.eio_sid_from_sid(sid, namespace)
        told = auth if isinstance(auth, dict) else {}
        try:
            await self._admit(namespace, sid, session, environ["aiohttp.request"], told)
        except RequestError as error:
            raise _refusal(error.message, error.code) from None
        except StoreUnavailableError as error:
            raise _refusal(error.message, "unavailable") from None
        except Exception:  # noqa: BLE001 - the client gets an answer, and we a trace
            log.get().exception("push.refused")
            raise _refusal("something went wrong here", "internal_error") from None
        self._namespaces.setdefault(session, set()).add(namespace)

    async def _admit(
        self,
        namespace: str,
        sid: str,
        session: str,
        request: web.Request,
        told: Mapping[str, Any],
    ) -> None:
        services, query = self._services, request.query
        key = _text(told.get("apikey")) or presented_key(request, in_query=True)
        principal = identified(services, key, services.callers.sources.of(request))
        if not principal.may(PERMISSION):
            raise ForbiddenError(f"this API key lacks the permission {PERMISSION}")
        if (
            namespace == "/"
        ):  # the main namespace, which some clients open first; nothing comes there
            return
        place = self._place(principal, namespace)
        wanted = told.get("events", query.getall("events", []))
        events = read_events(map(str, wanted if isinstance(wanted, list) else [wanted]))
        with ExitStack() as seated:
            seated.enter_context(services.hub.seat(place))
            since = _text(told.get("since")) or query.get("since") or None
            position, after = await start_of(services.hub, place, since)
            seat = seated.pop_all()
        client = Client(
            place,
            Packets(self._server, session),
            after=after,
            key_id=principal.key_id,
            check=Visitor(services, place, key).check,
            events=events,
            outlives_sink=True,
        )
        serving = asyncio.create_task(self._serve(client, position, sid, namespace))
        serving.add_done_callback(lambda _: seat.close())
        self._visits[sid] = serving

    def _place(self, principal: Principal, namespace: str) -> Place:
        """The instance of a namespace. Another tenant's is not told from one there is not."""
        place = (principal.tenant, namespace.removeprefix("/"))
        is_there = self._services.directory.instance(*place) is not None
        if not is_there or not principal.sees(place[1]):
            raise NotFoundError(f"there is no instance {place[1][:64]}")
        return place

    async def _serve(self, client: Client, position: int, sid: str, namespace: str) -> None:
        """Feed one client until it goes or must go."""
        try:
            for _ in range(TURNS):  # its CONNECT packet goes first
                if self._server.manager.is_connected(sid, namespace):
                    break
                await asyncio.sleep(0)
            ending = await self._services.hub.serve(client, position)
        except Exception:  # noqa: BLE001 - nobody waits for this task
            log.get().exception("push.failed")
            ending = FAILED
        if ending is None:
            return
        self._services.metrics.closed.labels(str(ending.code)).inc()
        session = self._server.manager.eio_sid_from_sid(sid, namespace)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._server.disconnect(sid, namespace)
        if ending is SLOW:
            await self._hang_up(session)

    async def _disconnect(self, namespace: str, sid: str, _reason: str) -> None:
        """A client left, or was sent away."""
        session = self._server.manager.eio_sid_from_sid(sid, namespace)
        joined = self._namespaces.get(session, set())
        joined.discard(namespace)
        if not joined:
            self._namespaces.pop(session, None)
            self._errands.run("socket_io.hang_up", self._hang_up(session))  # ends its long poll
        serving = self._visits.pop(sid, None)
        if serving is not None and serving is not asyncio.current_task():
            serving.cancel()

    async def _hang_up(self, session: str) -> None:
        socket = self._server.eio.sockets.get(session)
        if socket is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._server.eio.disconnect(session)
        socket.queue.put_nowait(None)  # engine.io's sign for its writer to close the websocket

    async def _sweep(self) -> None:
        """Hang up on sessions that join nothing: they have shown no key."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            sessions = self._server.eio.sockets.keys() - self._namespaces.keys()
            self._strangers = {s: self._strangers.get(s, 0) + 1 for s in sessions}
            late = [
                s for s, sweeps in self._strangers.items() if sweeps * SWEEP_EVERY > JOIN_WITHIN
            ]
            for session in late:
                await self._hang_up(session)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
