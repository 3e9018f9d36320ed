"""How a sink is doing: its state, what waits for it, how its last tries went."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from gateway.api.times import api_time
from gateway.services import Services
from schemas.sink_config import Kind, SinkConfig

State = Literal["ok", "retrying", "open", "disabled"]


class SinkStatus(BaseModel):
    """`state`: `retrying` while some delivery waits for another try, `open` while the circuit keeps
    tries back. `backlog`: what waits to be sent. `attempts`: by outcome. `connection`: of kinds
    that hold one.
    """

    kind: Kind
    instance: str
    name: str
    enabled: bool
    state: State
    reason: str | None
    circuit: str
    last_success_at: str | None
    last_error: str | None
    last_error_at: str | None
    backlog: int
    retrying: int
    dead: int
    oldest_waiting_at: str | None
    attempts: dict[str, int]
    connection: str | None


async def status_of(services: Services, config: SinkConfig) -> SinkStatus:
    """The answer of `GET /{kind}/status/{instance}`."""
    lane = services.dispatcher.lane(config.id)
    told = await services.history.sink_status(config.tenant, config.instance, config.id)
    shared = services.circuits.find(config.id)
    circuit = lane.breaker.state if lane else "open" if shared else "closed"
    state: State = "ok"
    reason: str | None = None
    if not config.enabled:
        state, reason = "disabled", config.disabled_reason or "disabled by its configuration"
    elif circuit != "closed":
        said = shared.reason if shared else lane and lane.last_error
        state, reason = "open", f"circuit {circuit}: {said or 'failing'}"
    elif told.retrying:
        state, reason = "retrying", told.last_error
    return SinkStatus(
        kind=config.kind,
        instance=config.instance,
        name=config.name,
        enabled=config.enabled,
        state=state,
        reason=reason,
        circuit=circuit,
        last_success_at=api_time(told.last_success_at),
        last_error=told.last_error,
        last_error_at=api_time(told.last_error_at),
        backlog=told.backlog + (lane.load if lane else 0),
        retrying=told.retrying,
        dead=told.dead,
        oldest_waiting_at=api_time(told.oldest_waiting_at),
        attempts=told.attempts,
        connection=lane.sink.health().state if lane else None,
    )
