-- Times are microseconds since 1970 UTC. Ids are lower-case ULIDs, so text order is time order.
-- Tables and columns are the same on both engines, so that reading needs one SQL; keys, indexes and triggers are not.
-- The store's own clock, or the one a test gives.
CREATE FUNCTION comporta_now(given BIGINT DEFAULT NULL) RETURNS BIGINT LANGUAGE sql VOLATILE AS
$$ SELECT COALESCE(given, (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT) $$;

CREATE TABLE records (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    doc TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE UNIQUE INDEX records_name ON records (kind, tenant, name);

CREATE TABLE inbounds (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    instance TEXT NOT NULL,
    installation_id TEXT,
    driver TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    method TEXT NOT NULL,
    query BYTEA NOT NULL,
    headers BYTEA NOT NULL,
    body BYTEA NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    delivery_key TEXT NOT NULL,
    events TEXT NOT NULL -- JSON list of [event id, name, seq]
);
CREATE INDEX inbounds_tenant ON inbounds (tenant, id);
CREATE INDEX inbounds_unsettled ON inbounds (outcome, id) WHERE outcome IN ('quarantined', 'enriching');

CREATE SEQUENCE event_seq;
CREATE TABLE events (
    seq BIGINT PRIMARY KEY DEFAULT nextval('event_seq'),
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    instance TEXT NOT NULL,
    installation_id TEXT,
    driver TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    weight BIGINT,
    occurred_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    provider_event TEXT NOT NULL,
    provider_event_id TEXT,
    inbound_id TEXT,
    version BIGINT NOT NULL,
    test BIGINT NOT NULL,
    superseded BIGINT NOT NULL,
    data BYTEA NOT NULL
);
CREATE INDEX events_key ON events (key, tenant, seq);
CREATE INDEX events_tenant ON events (tenant, seq);
CREATE INDEX events_instance ON events (tenant, instance, seq);

-- Digests of delivery keys (kind 0) and facts (kind 1): they outlive the payloads.
CREATE TABLE seen (
    digest BYTEA PRIMARY KEY,
    ref TEXT NOT NULL -- inbound id, or event id:seq
);

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL, -- the event
    sink_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    instance TEXT NOT NULL,
    okey TEXT, -- installation/key, for sinks that want order
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    replay BIGINT NOT NULL DEFAULT 0,
    next_at BIGINT NOT NULL,
    owner TEXT,
    token BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    status BIGINT, -- of the last response
    reason TEXT
);
CREATE INDEX deliveries_event ON deliveries (seq);
CREATE INDEX deliveries_due ON deliveries (sink_id, next_at, seq) WHERE state = 'pending';
CREATE INDEX deliveries_owner ON deliveries (owner) WHERE state = 'leased';
-- Plans are kept while the tables grow from nothing, so that no other index may look as good for these searches.
CREATE INDEX deliveries_order ON deliveries (sink_id, okey, state, seq, id)
WHERE okey IS NOT NULL AND state IN ('pending', 'leased');
CREATE INDEX deliveries_gap ON deliveries (okey, sink_id, seq) WHERE okey IS NOT NULL AND state = 'dead';
CREATE INDEX deliveries_dead ON deliveries (sink_id, id) WHERE state = 'dead';
-- Of the ordered deliveries of one sink and key only the first unfinished one may be due. A claim that meets another
-- one parks it at the end of time, so that it costs nothing until whatever was in front of it lets go.
CREATE FUNCTION deliveries_advance() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    UPDATE deliveries SET next_at = NEW.updated_at
    WHERE next_at = 9223372036854775807 AND id = (
        SELECT id FROM deliveries
        WHERE sink_id = NEW.sink_id AND okey = NEW.okey AND state IN ('pending', 'leased')
        ORDER BY state, seq, id LIMIT 1
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER deliveries_advance AFTER UPDATE OF state ON deliveries FOR EACH ROW
WHEN (NEW.okey IS NOT NULL AND OLD.state IN ('pending', 'leased') AND NEW.state <> 'leased')
EXECUTE FUNCTION deliveries_advance();

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    duration_ms DOUBLE PRECISION NOT NULL,
    outcome TEXT NOT NULL,
    status BIGINT,
    error TEXT,
    exchange BYTEA NOT NULL, -- JSON: request_headers, response_headers
    body BYTEA NOT NULL, -- first 4 KiB of the response
    PRIMARY KEY (delivery_id, number, at)
);

CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL,
    lease_seconds DOUBLE PRECISION NOT NULL
);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    ukey TEXT UNIQUE,
    due_at BIGINT NOT NULL,
    owner TEXT,
    token BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    doc BYTEA NOT NULL
);
CREATE INDEX jobs_due ON jobs (kind, due_at) WHERE owner IS NULL;
CREATE INDEX jobs_owner ON jobs (owner) WHERE owner IS NOT NULL;
