-- How many gateways an event had passed when it came to us: what ends a loop of webhooks.
ALTER TABLE events ADD COLUMN hop BIGINT NOT NULL DEFAULT 0;

-- Who changed or replayed what, when, from where. No row holds a secret or a body.
CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    at BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    key_name TEXT NOT NULL,
    action TEXT NOT NULL, -- method and route, as in `POST /api-keys/{id}/rotate`
    path TEXT NOT NULL,
    instance TEXT,
    status BIGINT NOT NULL,
    source TEXT NOT NULL,
    doc TEXT NOT NULL -- JSON: what else is worth telling
);
CREATE INDEX audit_tenant ON audit (tenant, id);

-- The answers to requests that came with an Idempotency-Key, sealed; `answer` is empty while the first one runs.
CREATE TABLE idempotency (
    digest TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    answer TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX idempotency_at ON idempotency (at);
