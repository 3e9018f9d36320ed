"""The drivers as a table for people, or JSON for programs."""

from __future__ import annotations

from drivers import DRIVERS
from schemas import codec


def as_table() -> str:
    """One line per driver, aligned."""
    rows = [("SLUG", "NAME", "PROOF", "STATUS", "EVENTS")]
    rows += [
        (d.slug, d.name, proof(d.slug), d.status, str(len(d.supported_events))) for d in DRIVERS
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def proof(slug: str) -> str:
    """How strong a driver's deliveries are proven: `signed`, `token` or `url` only."""
    scheme = next(d.scheme for d in DRIVERS if d.slug == slug)
    if scheme.binds_body:
        return "signed"
    return "token" if scheme.reveals_secret else "url"


def as_json_text() -> str:
    """Slug, name, id and events of every driver."""
    catalogue = [
        {
            "slug": d.slug,
            "name": d.name,
            "id": d.id,
            "proof": proof(d.slug),
            "status": d.status,
            "supported_events": d.supported_events,
        }
        for d in DRIVERS
    ]
    return codec.dumps(catalogue).decode()
