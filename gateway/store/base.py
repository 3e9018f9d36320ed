"""The store seam: what the gateway needs kept, in two Protocols, and the rows that cross them.

`EventLog` is the hot half: group-committed appends, leases, settled results, jobs. Each engine
writes it in its own SQL (SQLite: one writer thread; PostgreSQL: UNNEST batches). `Database` is the
cold half's whole need: one statement at a time, the same SQL on both engines, so that `history.py`
and `registry.py` exist once.

Times are integers: microseconds since 1970, UTC. "Now" is the store's: the database's clock on
PostgreSQL, the given clock on SQLite, so that nodes with wrong clocks cannot steal each other's
leases. Ids are lower-case ULIDs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from schemas.delivery import AttemptRecord
from schemas.events import StoredEvent

InboundOutcome = Literal["accepted", "duplicate", "ignored", "quarantined", "enriching"]
FinalState = Literal["succeeded", "dead", "canceled"]
DeliveryState = Literal["pending", "leased", "succeeded", "dead", "canceled"]
Topic = Literal["deliveries", "config", "events"]


@dataclass(slots=True, kw_only=True)
class NewInbound:
    """One verified request, redacted, as it is kept. `headers`, `query`: JSON. `delivery_key`:
    recognises a redelivery.
    """

    id: str
    received_at: int
    method: str
    query: bytes
    headers: bytes
    body: bytes
    outcome: InboundOutcome
    delivery_key: str
    reason: str | None = None


@dataclass(slots=True, kw_only=True)
class NewDelivery:
    """One event for one sink. `leased`: born with this node's lease, which sends it from memory.
    `ordered`: the sink wants the events of one key one after the other (such a delivery is never
    born leased). A delivery born leased has token BORN.
    """

    id: str
    sink_id: str
    leased: bool = False
    ordered: bool = False


@dataclass(slots=True, kw_only=True)
class NewEvent:
    """One canonical event. `weight`: its place in its family's life, None outside order, shipment
    and return. `hop`: how many gateways it had passed when it came. `trace`: the
    traceparent that its deliveries continue.
    """

    id: str
    name: str
    key: str
    dedupe_key: str
    occurred_at: int
    provider_event: str
    data: bytes
    provider_event_id: str | None = None
    weight: int | None = None
    test: bool = False
    version: int = 1
    hop: int = 0
    trace: str | None = None
    deliveries: tuple[NewDelivery, ...] = ()


@dataclass(slots=True, kw_only=True)
class NewJob:
    """Durable work for later. `unique`: at most one job has this name; a newer one replaces it,
    `Append.cancels` drops it.
    """

    id: str
    kind: str
    doc: bytes
    due_in: float = 0.0
    unique: str | None = None


@dataclass(slots=True, kw_only=True)
class Append:
    """What one request leaves behind, in one transaction.

    With `inbound` its delivery key is checked first: a redelivery stores nothing. `again`: the
    inbound exists already (renormalized, enriched); its outcome, reason and list of events are
    brought up to date instead. `finishes`: a job that this append completes, with its token; when
    that lease was lost, nothing is stored. Each event is dropped when its fact (installation, name,
    dedupe_key) is known. `skip_superseded`: a superseded event gets no deliveries.
    """

    tenant: str
    instance: str
    installation_id: str | None
    driver: str
    received_at: int
    inbound: NewInbound | None = None
    again: bool = False
    events: tuple[NewEvent, ...] = ()
    jobs: tuple[NewJob, ...] = ()
    cancels: tuple[str, ...] = ()
    finishes: tuple[str, int] | None = None
    skip_superseded: bool = False


@dataclass(slots=True, frozen=True)
class Told:
    """What became of one event of an append: `duplicate` ones have the id of the event that told
    the fact first.
    """

    id: str
    name: str
    seq: int
    duplicate: bool
    superseded: bool = False


@dataclass(slots=True, frozen=True)
class Appended:
    """The answer to an append; `duplicate`: the whole delivery had come before, `inbound_id` and
    `events` are those. `lost`: the job it was to finish is another's by now, nothing was stored.
    """

    inbound_id: str | None
    duplicate: bool
    events: tuple[Told, ...]
    lost: bool = False


Lease = tuple[str, int]  # a delivery's id, and the token it was leased under
BORN = 1  # the token of one that was born leased


@dataclass(slots=True, kw_only=True)
class Leased:
    """A delivery this node may send now. `attempts`: tries already made. `replay`: how often it was
    replayed by hand.

    `token` fences: a settle with an older token changes nothing. `gap`: an earlier event of this
    key was given up.
    """

    id: str
    token: int
    sink_id: str
    attempts: int
    replay: int
    event: StoredEvent
    gap: bool = False

    @property
    def lease(self) -> Lease:
        """What is given back when it is not sent."""
        return (self.id, self.token)


@dataclass(slots=True, kw_only=True)
class Settlement:
    """The result of one try. `state` pending: try again after `delay` seconds. `counts`: whether it
    used up a try.
    """

    id: str
    token: int
    state: Literal["pending", "succeeded", "dead", "canceled"]
    delay: float = 0.0
    counts: bool = True
    reason: str | None = None
    attempt: AttemptRecord | None = None


@dataclass(slots=True, kw_only=True)
class Job:
    """A job this node holds. `attempts` counts this one."""

    id: str
    token: int
    kind: str
    unique: str | None
    attempts: int
    doc: bytes


class EventLog(Protocol):
    """The hot path. Every method may raise StoreUnavailableError; what returned is durable."""

    node: str

    async def append(self, item: Append) -> Appended:
        """Commit one request's rows, together with whatever else gathers meanwhile (group commit).

        Shielded: a caller that goes away does not undo it. A poison item fails alone, not its
        batch.
        """

    async def settle(self, items: Sequence[Settlement]) -> frozenset[str]:
        """Write results in one go; gives the ids whose lease was lost (nothing was changed for
        them).
        """

    async def claim(
        self, wants: Mapping[str, int], *, ordered: frozenset[str] = frozenset()
    ) -> list[Leased]:
        """Lease up to `wants[sink_id]` due deliveries per sink, oldest first.

        No delivery is ever leased twice at a time, on any node. For sinks in `ordered` only the
        first unfinished event (by seq) of each (installation, key) is given.
        """

    async def due(self) -> dict[str, float]:
        """Sinks with pending deliveries, and in how many seconds (0: now) their first is due.
        Ordered deliveries that wait for one before them are not due. Cheap at any backlog.
        """

    async def backlog(self, held: frozenset[str], limit: int) -> int:
        """Deliveries that are due and not yet sent, without those of `held` sinks; stops counting
        at `limit`.
        """

    async def heartbeat(self) -> int:
        """Renew this node's lease; free the leases of nodes whose heartbeat ran out. Gives how many
        were freed.
        """

    async def release(self, leases: Sequence[Lease] | None = None) -> None:
        """Give back leases that were not used: all of this node's, jobs too, without `leases`. No
        try is counted. One that was taken anew meanwhile, under another token, stays.
        """

    async def put_job(self, job: NewJob) -> None:
        """Keep a job; one with the same `unique` is replaced."""

    async def claim_jobs(self, kinds: Sequence[str], limit: int) -> list[Job]:
        """Lease due jobs of these kinds (with this node's heartbeat)."""

    async def finish_job(
        self, job: Job, *, again_in: float | None = None, doc: bytes | None = None
    ) -> bool:
        """Drop the job, or put it off by `again_in` seconds (with a new `doc`). False when the
        lease was lost.
        """

    async def purge(self, before: int, limit: int = 500) -> int:
        """Delete up to `limit` finished things older than `before` (never pending work); gives how
        many went.
        """


class Database(Protocol):
    """One statement at a time; the SQL is common to both engines, with `$1 $2 …` in order of
    appearance.
    """

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Rows of a query."""

    async def write(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement that changes something (RETURNING), committed."""

    async def now(self) -> int:
        """The store's clock, in microseconds."""

    async def horizon(self) -> int:
        """No event with this seq or a lower one will be committed any more."""


class Store(Protocol):
    """An open engine. `listen` calls back with (topic, payload) on changes anywhere, this process
    included.
    """

    log: EventLog
    database: Database

    def listen(self, callback: Callable[[Topic, str], None]) -> None:
        """Hear of changes: `deliveries` (due now), `config` (kind/id of a record), `events`
        (tenant/instance). An empty payload: hints were missed, anything may have changed.
        """

    async def notify(self, topic: Topic, payload: str) -> None:
        """Tell every process; bursts of one topic and payload are told once."""

    async def check(self) -> None:
        """Return when the store takes writes and its migrations are current; else raise
        StoreUnavailableError.
        """

    async def close(self) -> None:
        """Flush, release this node's leases, and close. May be called twice."""


@dataclass(slots=True, kw_only=True)
class Record:
    """One cold thing: a tenant, key, instance, installation, sink, setting … `name` is unique per
    kind and tenant.

    `version` grows by one with each change; `doc` is plain JSON data.
    """

    kind: str
    id: str
    tenant: str
    name: str
    doc: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    created_at: int = 0
    updated_at: int = 0
