-- Times are microseconds since 1970 UTC. Ids are lower-case ULIDs, so text order is time order.
-- Tables and columns are the same on both engines, so that reading needs one SQL; keys, indexes and triggers are not.
CREATE TABLE records (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    doc TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX records_name ON records (kind, tenant, name);

CREATE TABLE inbounds (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    instance TEXT NOT NULL,
    installation_id TEXT,
    driver TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    method TEXT NOT NULL,
    query BLOB NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    delivery_key TEXT NOT NULL,
    events TEXT NOT NULL -- JSON list of [event id, name, seq]
) STRICT;
CREATE INDEX inbounds_tenant ON inbounds (tenant, id);
CREATE INDEX inbounds_unsettled ON inbounds (outcome, id) WHERE outcome = 'quarantined' OR outcome = 'enriching';

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- so that a purged seq never comes back
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    instance TEXT NOT NULL,
    installation_id TEXT,
    driver TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    weight INTEGER,
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    provider_event TEXT NOT NULL,
    provider_event_id TEXT,
    inbound_id TEXT,
    version INTEGER NOT NULL,
    test INTEGER NOT NULL,
    superseded INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
-- With what supersession asks for, so that it reads no rows.
CREATE INDEX events_key ON events (tenant, key, seq, weight, occurred_at);
CREATE INDEX events_tenant ON events (tenant, seq);
CREATE INDEX events_instance ON events (tenant, instance, seq);

-- Digests of delivery keys (kind 0) and facts (kind 1): they outlive the payloads.
CREATE TABLE seen (
    digest BLOB PRIMARY KEY,
    ref TEXT NOT NULL -- inbound id, or event id:seq
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL, -- the event
    sink_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    instance TEXT NOT NULL,
    okey TEXT, -- installation/key, for sinks that want order
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    replay INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL,
    owner TEXT,
    token INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    status INTEGER, -- of the last response
    reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_event ON deliveries (seq);
CREATE INDEX deliveries_due ON deliveries (sink_id, next_at, seq) WHERE state = 'pending';
CREATE INDEX deliveries_owner ON deliveries (owner) WHERE state = 'leased';
-- Spelled with OR, so that SQLite sees it serves a search for either state.
CREATE INDEX deliveries_order ON deliveries (sink_id, okey, state, seq)
WHERE okey IS NOT NULL AND (state = 'pending' OR state = 'leased');
CREATE INDEX deliveries_gap ON deliveries (sink_id, okey, seq) WHERE okey IS NOT NULL AND state = 'dead';
CREATE INDEX deliveries_dead ON deliveries (sink_id, id) WHERE state = 'dead';
-- Of the ordered deliveries of one sink and key only the first unfinished one may be due. A claim that meets another
-- one parks it at the end of time, so that it costs nothing until whatever was in front of it lets go.
CREATE TRIGGER deliveries_advance AFTER UPDATE OF state ON deliveries
WHEN new.okey IS NOT NULL AND old.state IN ('pending', 'leased') AND new.state <> 'leased'
BEGIN
    UPDATE deliveries SET next_at = new.updated_at
    WHERE next_at = 9223372036854775807 AND id = (
        SELECT id FROM deliveries
        WHERE sink_id = new.sink_id AND okey = new.okey AND state = 'pending'
        ORDER BY seq, id LIMIT 1
    );
END;

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    duration_ms REAL NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    error TEXT,
    exchange BLOB NOT NULL, -- JSON: request_headers, response_headers
    body BLOB NOT NULL, -- first 4 KiB of the response
    PRIMARY KEY (delivery_id, number, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    lease_seconds REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    ukey TEXT UNIQUE,
    due_at INTEGER NOT NULL,
    owner TEXT,
    token INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    doc BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_due ON jobs (kind, due_at) WHERE owner IS NULL;
CREATE INDEX jobs_owner ON jobs (owner) WHERE owner IS NOT NULL;
