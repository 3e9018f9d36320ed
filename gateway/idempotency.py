"""Idempotency-Key: a request that is sent twice because its answer was lost is carried out once.

The header is that of draft-ietf-httpapi-idempotency-key-header: 400 for what is no key, 422 for a
key that came with another request, 409 while the first one runs. A good answer is kept for a day,
sealed, because it may show a secret; after a failure the key is free again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from gateway.reading import KEPT_BODY, read_body
from gateway.security import Principal, Vault, digest
from gateway.store.base import Database
from schemas.errors import BadRequestError, ConflictError, Detail, InvalidError

HEADER = "Idempotency-Key"
LONGEST = 255
MAX_BODY = 1_048_576
KEEP = 86_400_000_000  # microseconds
ABANDONED = 120_000_000  # after which a request that gave no answer is given up: its process died
SLICE = 500
BEGIN = """
INSERT INTO idempotency (digest, fingerprint, answer, at) VALUES ($1, $2, '', $3)
ON CONFLICT DO NOTHING RETURNING digest"""
READ = "SELECT fingerprint, answer, at FROM idempotency WHERE digest = $1"
TAKE_OVER = """
UPDATE idempotency SET fingerprint = $1, answer = '', at = $2 WHERE digest = $3 AND at = $4
RETURNING digest"""
KEEP_ANSWER = "UPDATE idempotency SET answer = $1 WHERE digest = $2 AND at = $3 RETURNING digest"
DROP = "DELETE FROM idempotency WHERE digest = $1 AND at = $2 RETURNING digest"
FORGET = """
DELETE FROM idempotency WHERE digest IN (
    SELECT digest FROM idempotency WHERE at < $1 ORDER BY at LIMIT 500)
RETURNING digest"""

Work = Callable[[], Awaitable[web.StreamResponse]]


class Idempotency:
    """Remembers requests by key, per API key. `now`: microseconds."""

    def __init__(self, database: Database, vault: Vault, now: Callable[[], int]) -> None:
        self._database, self._vault, self._now = database, vault, now

    async def once(
        self, request: web.Request, principal: Principal, work: Work
    ) -> tuple[web.StreamResponse, bool]:
        """The answer of `work`, or the one it gave before; and whether it ran now.

        Raises BadRequestError, ConflictError or InvalidError, and what `work` raises.
        """
        key = _read_key(request)
        request[KEPT_BODY] = body = await read_body(request, MAX_BODY)
        ident = digest(f"{principal.tenant}/{principal.key_id}/{key}")
        told = f"{request.method} {request.path_qs}\0".encode(errors="replace") + body
        fingerprint = hashlib.sha256(told).hexdigest()
        at = self._now()
        if not await self._database.write(BEGIN, ident, fingerprint, at):
            kept = await self._known(ident, fingerprint, at)
            if kept is not None:
                return kept, False
        try:
            answer = await work()
        except BaseException:
            await self._database.write(DROP, ident, at)
            raise
        await self._keep(ident, at, answer)
        return answer, True

    async def _known(self, ident: str, fingerprint: str, at: int) -> web.Response | None:
        """The answer given before; None when this request may run in place of the first."""
        for row in await self._database.fetch(READ, ident):
            before, sealed, since = row
            is_old = since < at - (KEEP if sealed else ABANDONED)
            if is_old and await self._database.write(TAKE_OVER, fingerprint, at, ident, since):
                return None
            if before != fingerprint:
                message = "this key came with another request: take a new one"
                raise InvalidError(
                    message, code="idempotency_key_reused", details=(Detail(HEADER, message),)
                )
            if sealed:
                return _response(self._vault.open(f"idempotency/{ident}", sealed))
        raise ConflictError("the first request with this key still runs", code="still_running")

    async def _keep(self, ident: str, at: int, answer: web.StreamResponse) -> None:
        body = answer.body if isinstance(answer, web.Response) else None
        if answer.status >= 400 or not isinstance(body, bytes | None):
            await self._database.write(DROP, ident, at)
            return
        told = [answer.status, (body or b"").decode(), answer.content_type if body else ""]
        sealed = self._vault.seal(f"idempotency/{ident}", told)
        await self._database.write(KEEP_ANSWER, sealed, ident, at)

    async def forget(self) -> None:
        """Drop what is older than a day, a slice at a time."""
        while len(await self._database.write(FORGET, self._now() - KEEP)) >= SLICE:
            pass


def _read_key(request: web.Request) -> str:
    keys = request.headers.getall(HEADER)
    key = keys[0].strip()
    if len(keys) > 1 or not 0 < len(key) <= LONGEST or not key.isascii() or not key.isprintable():
        raise BadRequestError(
            f"{HEADER} is 1 to {LONGEST} printable ASCII characters, sent once",
            code="invalid_idempotency_key",
        )
    return key


def _response(told: Any) -> web.Response:
    status, body, kind = told
    headers = {"Idempotent-Replayed": "true"}
    if not kind:
        return web.Response(status=status, headers=headers)
    return web.Response(
        body=body.encode(), status=status, headers=headers, content_type=kind, charset="utf-8"
    )
