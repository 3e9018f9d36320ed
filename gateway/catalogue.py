"""The drivers as a table for people, or JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator

from drivers import DRIVERS
from drivers.verify import Choice, Hmac, Refuse, Scheme, UrlOnly
from gateway.columns import in_columns
from schemas import codec


def as_table() -> str:
    """One line per driver, aligned."""
    rows = [("SLUG", "NAME", "PROOF", "STATUS", "EVENTS")]
    rows += [
        (d.slug, d.name, "/".join(proofs(d.scheme)), d.status, str(len(d.supported_events)))
        for d in DRIVERS
    ]
    return in_columns(rows)


def proofs(scheme: Scheme) -> tuple[str, ...]:
    """Every way a scheme takes a delivery for genuine, strongest first: `signed` (a key and what
    the delivery says), a static `token`, or the secret `url` alone.
    """
    found = {word for one in _parts(scheme) for word in _proofs(one)}
    return tuple(word for word in ("signed", "token", "url") if word in found)


def _parts(scheme: Scheme) -> Iterator[Scheme]:
    if isinstance(scheme, Choice):
        for one in scheme.schemes:
            yield from _parts(one)
    elif not isinstance(scheme, Refuse):
        yield scheme


def _proofs(scheme: Scheme) -> tuple[str, ...]:
    if scheme.binds_body or isinstance(scheme, Hmac):  # some sign all that is read of the body
        return ("signed",)
    if isinstance(scheme, UrlOnly):
        return ("url",)
    # A token that nobody has to set up leaves the URL alone until somebody does.
    return ("token",) if scheme.needs_secret else ("token", "url")


def as_json_text() -> str:
    """Slug, name, id and events of every driver."""
    catalogue = [
        {
            "slug": d.slug,
            "name": d.name,
            "id": d.id,
            "proof": proofs(d.scheme)[0],
            "proofs": proofs(d.scheme),
            "status": d.status,
            "supported_events": d.supported_events,
        }
        for d in DRIVERS
    ]
    return codec.dumps(catalogue).decode()
