"""Forged and mangled copies of genuine requests."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from drivers.verify import Draft
from schemas.request import Inbound
from tests.drivers.samples import Sample, pick

# A body token that is taken out leaves this in its place.
NOTHING: tuple[Any, ...] = (None, "", 0, False, [], {})


def altered_bodies(body: bytes) -> Iterator[bytes]:
    """The body with one byte changed, added or lost, at its ends and inside."""
    for at in sorted({0, len(body) // 3, len(body) // 2, len(body) - 1}):
        yield body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        yield body[:at] + body[at + 1 :]
    yield body + b" "
    yield b" " + body
    yield b""


def wrong_tokens(inbound: Inbound, secret: str) -> list[Inbound]:
    """The request with its secret almost right, wherever it stands."""
    last = "0" if secret[-1] != "0" else "1"
    wrong = (secret[:-1] + last, secret[:-1], secret + last, secret.swapcase(), "x")
    copies = [substituted(inbound, secret, w) for w in wrong if w != secret]
    return [copy for copy in copies if copy != inbound]


def substituted(inbound: Inbound, old: str, new: str) -> Inbound:
    """The request with `old` replaced by `new` in header, query and body, also as Basic credentials
    carry it.
    """
    pairs = [(old, new), (b64encode(old.encode()).decode(), b64encode(new.encode()).decode())]
    body, headers, query = inbound.body, dict(inbound.headers), dict(inbound.query)
    for before, after in pairs:
        body = body.replace(before.encode(), after.encode())
        headers = {k: tuple(v.replace(before, after) for v in vs) for k, vs in headers.items()}
        query = {k: tuple(v.replace(before, after) for v in vs) for k, vs in query.items()}
    return replace(inbound, body=body, headers=headers, query=query)


def undressed(sample: Sample) -> Iterator[Inbound]:
    """The request without what could prove it: no headers and query, each of them sent twice, no
    token in the body.
    """
    inbound = sample.inbound
    kept = {k: v for k, v in inbound.headers.items() if k == "content-type"}
    bare = replace(inbound, headers=kept, query={})
    doubled = {k: v if k == "content-type" else v * 2 for k, v in inbound.headers.items()}
    if sample.secret and sample.secret.encode() in inbound.body:
        quoted = json.dumps(sample.secret).encode()
        if quoted not in inbound.body:  # a form
            yield replace(bare, body=inbound.body.replace(sample.secret.encode(), b""))
            return
        for nothing in NOTHING:
            yield replace(bare, body=inbound.body.replace(quoted, json.dumps(nothing).encode()))
    else:
        body = _without_proofs(inbound)
        yield replace(bare, body=body)
        twice = {k: v * 2 for k, v in inbound.query.items()}
        yield replace(inbound, headers=doubled, query=twice, body=body)


def _without_proofs(inbound: Inbound) -> bytes:
    """The body without a signature of the query or a header, where it is repeated."""
    body = inbound.body
    for values in (*inbound.headers.values(), *inbound.query.values()):
        for value in values:
            body = body.replace(value.encode(), b"") if len(value) >= 32 else body
    return body


def is_json(body: bytes) -> bool:
    """Whether a body is JSON."""
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def retold(sample: Sample) -> Inbound:
    """The same JSON with other spacing and order of keys, signed anew."""
    value = json.loads(sample.body)
    return redressed(sample, json.dumps(value, indent=3, sort_keys=True).encode())


def redressed(sample: Sample, body: bytes) -> Inbound:
    """The sample with another body, signed anew where its secret can sign."""
    draft = Draft(
        headers={k: v[0] for k, v in sample.inbound.headers.items()},
        query={k: v[0] for k, v in sample.inbound.query.items()},
        body=body,
        secret=sample.secret or "",
        now=int(sample.now.timestamp()),
    )
    scheme = pick(sample.driver, sample.inbound, sample.grant)
    if sample.secret and not scheme.reveals_secret:
        scheme.sign(draft)
    headers = {k: (v,) for k, v in draft.headers.items()}
    query = {k: (v,) for k, v in draft.query.items()}
    return replace(sample.inbound, headers=headers, query=query, body=draft.body)
