"""The ways out of this process, wired together: HTTP, brokers, live push."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.claims import PURPOSE, Claims
from gateway.egress import Egress
from gateway.parts import Parts
from gateway.push import Hub, Told
from gateway.settings import Settings
from gateway.version import VERSION
from schemas.target import AllowList
from sinks.base import Context


class Outbound(NamedTuple):
    """Its parts, by the names they have in `Services`."""

    egress: Egress
    claims: Claims
    hub: Hub
    sink_context: Context


def open_outbound(parts: Parts) -> Outbound:
    """Every way, over an open store."""
    settings = parts.settings
    egress = Egress(
        allow=AllowList.parse(settings.allow_targets),
        require_https=settings.require_https,
        own=settings.base_url,
        ca_file=settings.ca_file,
    )
    claims = Claims(parts.keys.vault.derived(PURPOSE), settings.base_url, parts.now)
    hub = _hub(parts)
    return Outbound(egress, claims, hub, _sink_context(settings, egress, claims, hub, parts.now))


def _hub(parts: Parts) -> Hub:
    store, metrics = parts.store, parts.metrics
    told = Told(notify=store.notify, connections=metrics.websockets.set, pushed=metrics.pushed.inc)
    hub = Hub(
        parts.history,
        store.database,
        parts.directory,
        told,
        server_url=parts.settings.base_url,
        most=parts.settings.websocket_max_connections,
    )
    store.listen(hub.heard)
    return hub


def _sink_context(
    settings: Settings, egress: Egress, claims: Claims, hub: Hub, now: Callable[[], int]
) -> Context:
    pusher = {
        "app_id": settings.pusher_app_id,
        "key": settings.pusher_key,
        "secret": settings.pusher_secret.get_secret_value(),
        "cluster": settings.pusher_cluster,
        "host": settings.pusher_host,
    }
    sqs = {
        "region": settings.sqs_region,
        "access_key_id": settings.sqs_access_key_id,
        "secret_access_key": settings.sqs_secret_access_key.get_secret_value(),
        "account_id": settings.sqs_account_id,
        "endpoint_url": settings.sqs_base_url,
    }
    wide: dict[str, dict[str, Any]] = {
        "rabbitmq": {"uri": settings.rabbitmq_uri.get_secret_value()},
        "nats": {"url": settings.nats_url.get_secret_value()},
        "sqs": sqs,
        "pusher": pusher,
    }
    return Context(
        http=egress,
        now=now,
        server_url=settings.base_url,
        user_agent=f"Comporta/{VERSION}",
        server_wide={kind: {k: v for k, v in named.items() if v} for kind, named in wide.items()},
        guard=egress.guard,
        claim_url=claims.url,
        timeout=settings.delivery_timeout,
        ca_file=settings.ca_file,
        publish=hub.publish,
    )
