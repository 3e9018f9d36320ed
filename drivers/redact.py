"""Taking secrets out of what is stored: our own, and those that providers send along."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from schemas import codec
from schemas.request import Inbound

REDACTED = "[redacted]"
_BLANK = REDACTED.encode()
_PRIVATE_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
# A shorter secret is only looked for as a whole value: inside other text it would be chance.
_LONG = 8
_ALIKE = re.compile(r"[A-Za-z0-9_.~-]+")  # neither JSON nor a form escapes any of these


def redact(
    inbound: Inbound, payload: Any, secrets: Iterable[str], fields: Iterable[str]
) -> tuple[bytes, dict[str, tuple[str, ...]]]:
    """The body and headers of a request without `secrets`, and without the values of `fields`.

    The parsed payload (None when there is none) loses the same values in place, so that
    `normalize` never sees one.
    """
    names, known = frozenset(fields), {s for s in secrets if s}
    if _may_hold(inbound.body, names, known):
        known.update(_blank(payload, names, frozenset(known)))
    headers = {n: _header(n, values, known) for n, values in inbound.headers.items()}
    body = _without_fields(inbound.body, names) if names else inbound.body
    for secret in known:
        body = _without_bytes(body, secret)
    return body, headers


def _may_hold(body: bytes, names: frozenset[str], secrets: Iterable[str]) -> bool:
    """Whether a walk through the payload could find anything; False only where it surely cannot:
    a body in JSON without escapes in which none of the words stands.
    """
    words = [word.encode(errors="replace") for word in (*names, *secrets)]
    if not words:
        return False
    is_plain = body.lstrip()[:1] in (b"{", b"[") and b"\\" not in body
    return not is_plain or any(word in body for word in words)


def _blank(payload: Any, names: frozenset[str], secrets: frozenset[str]) -> list[str]:
    """Blank fields of these names and texts that are a secret; gives the longer ones among them."""
    blanked: list[Any] = []
    containers: list[Any] = [[payload]]
    for container in containers:  # which grows meanwhile
        is_object = type(container) is dict
        if is_object:
            blanked += _overwrite(container, [n for n in names if container.get(n)])
        is_secret_here = False
        for inner in container.values() if is_object else container:
            kind = type(inner)
            if kind is str:
                is_secret_here = is_secret_here or inner in secrets
            elif kind is dict or kind is list:
                containers.append(inner)
        if is_secret_here:
            pairs = container.items() if is_object else enumerate(container)
            blanked += _overwrite(
                container, [k for k, v in pairs if type(v) is str and v in secrets]
            )
    return [value for value in blanked if type(value) is str and len(value) >= _LONG]


def _overwrite(container: Any, keys: Iterable[Any]) -> list[Any]:
    """Blank what stands at `keys`; gives what stood there."""
    values = []
    for key in keys:
        values.append(container[key])
        container[key] = REDACTED
    return values


def _header(name: str, values: tuple[str, ...], secrets: Iterable[str]) -> tuple[str, ...]:
    if name in _PRIVATE_HEADERS:
        return (REDACTED,) * len(values)
    return tuple([_without(v, secrets) for v in values]) if secrets else values


def _without(value: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if value == secret:
            return REDACTED
        if len(secret) >= _LONG:
            value = value.replace(secret, REDACTED)
    return value


def _without_fields(body: bytes, names: frozenset[str]) -> bytes:
    """Blank by name: this also finds what is short, a number, or inside a body nobody can parse."""
    in_json, in_form = _field_patterns(names)
    if body.lstrip()[:1] in (b"{", b"["):
        return in_json.sub(rb'\1"%b"' % _BLANK, body)
    # Every field with the same byte before it: a pattern that starts with one is found at once.
    return in_form.sub(rb"\1%b" % _BLANK, b"&" + body)[1:]


@lru_cache(maxsize=64)
def _field_patterns(names: frozenset[str]) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    either = b"|".join(re.escape(name.encode()) for name in sorted(names))
    value = rb'(?:"(?:[^"\\]|\\.)*+"|-?[0-9][0-9.eE+-]*)'
    in_json = rb'("(?:%b)"\s*:\s*)%b' % (either, value)
    in_form = rb"(&(?:[^=&]*(?:\[|%%5[Bb]))?(?:%b)(?:\]|%%5[Dd])?=)[^&]+" % either
    return re.compile(in_json, re.DOTALL), re.compile(in_form)


def _without_bytes(body: bytes, secret: str) -> bytes:
    for spelled in _spellings(secret):
        if len(secret) >= _LONG:
            body = body.replace(spelled, _BLANK)
        else:
            body = re.sub(rb'(?<=["=])%b(?=["&]|\Z)' % re.escape(spelled), _BLANK, body)
    return body


def _spellings(secret: str) -> Iterator[bytes]:
    """A secret as it may stand in a JSON or form body; the longest first."""
    if _ALIKE.fullmatch(secret):
        yield secret.encode()
        return
    in_json = {codec.dumps(secret)[1:-1], json.dumps(secret).encode()[1:-1]}
    in_json |= {text.replace(b"/", b"\\/") for text in in_json}
    in_form = {quote_plus(secret, errors="replace"), quote(secret, errors="replace")}
    in_form.add(quote(secret, safe="", errors="replace"))
    yield from sorted(in_json | {text.encode() for text in in_form}, key=len, reverse=True)
