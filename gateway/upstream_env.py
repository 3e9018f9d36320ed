"""Evolution API's environment variables that are not read here, and what to do about each.

`deploy/evolution.md` has the same table for people; a test compares them. Names as in
https://github.com/EvolutionAPI/evolution-api/blob/main/.env.example.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.settings import variables

RETRIES = "COMPORTA_RETRY_SCHEDULE, the seconds between attempts; or retry of a sink"
EACH_SINK = "a sink is enabled for itself"
EACH_INSTANCE = "a sink for each instance"

# What says something here by another name.
INSTEAD: Mapping[str, str] = {
    "SERVER_URL": "COMPORTA_PUBLIC_URL",
    "SERVER_PORT": "COMPORTA_PORT",
    "SSL_CONF_FULLCHAIN": "COMPORTA_TLS_CERT",
    "SSL_CONF_PRIVKEY": "COMPORTA_TLS_KEY",
    "DATABASE_CONNECTION_URI": "COMPORTA_STORE, a database of its own; or nothing,"
    " for the embedded store",
    "CORS_ORIGIN": "COMPORTA_CORS_ORIGINS",
    "LOG_LEVEL": "COMPORTA_LOG_LEVEL, one level",
    "WEBHOOK_REQUEST_TIMEOUT_MS": "COMPORTA_DELIVERY_TIMEOUT, in seconds; or timeout of a sink",
    "WEBHOOK_RETRY_MAX_ATTEMPTS": RETRIES,
    "WEBHOOK_RETRY_INITIAL_DELAY_SECONDS": RETRIES,
    "WEBHOOK_RETRY_MAX_DELAY_SECONDS": RETRIES,
    "METRICS_AUTH_REQUIRED": "COMPORTA_METRICS_PUBLIC, the other way round",
}
# What needs no setting here.
NEEDLESS: Mapping[str, str] = {
    "WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF": "the schedule says it",
    "WEBHOOK_RETRY_JITTER_FACTOR": "always 20 %",
    "WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES": "all are tried again but 410;"
    " what runs out of attempts is a dead letter",
    "WEBHOOK_GLOBAL_ENABLED": EACH_INSTANCE,
    "WEBHOOK_GLOBAL_URL": EACH_INSTANCE,
    "WEBHOOK_GLOBAL_WEBHOOK_BY_EVENTS": "webhook_by_events of a sink",
    "RABBITMQ_ENABLED": EACH_SINK,
    "RABBITMQ_EXCHANGE_NAME": "exchange of a sink",
    "RABBITMQ_GLOBAL_ENABLED": EACH_INSTANCE,
    "RABBITMQ_PREFIX_KEY": EACH_INSTANCE,
    "RABBITMQ_FRAME_MAX": "agreed with the broker",
    "SQS_ENABLED": EACH_SINK,
    "SQS_GLOBAL_ENABLED": EACH_INSTANCE,
    "SQS_GLOBAL_FORCE_SINGLE_QUEUE": "queue_url or queue_name of a sink",
    "SQS_MAX_PAYLOAD_SIZE": "the broker's own limit; above it a claim check goes out",
    "NATS_ENABLED": EACH_SINK,
    "NATS_GLOBAL_ENABLED": EACH_INSTANCE,
    "NATS_PREFIX_KEY": "subject_prefix of a sink",
    "WEBSOCKET_ENABLED": EACH_SINK,
    "WEBSOCKET_GLOBAL_EVENTS": "connect to each namespace",
    "WEBSOCKET_ALLOWED_HOSTS": "nobody comes in without a key",
    "PUSHER_ENABLED": EACH_SINK,
    "PUSHER_GLOBAL_ENABLED": EACH_SINK,
    "PUSHER_GLOBAL_USE_TLS": "use_tls of a sink",
    "KAFKA_ENABLED": "there is no Kafka sink",
    "AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES": "include_apikey of a sink",
    "CACHE_REDIS_ENABLED": "there is no Redis",
    "PROMETHEUS_METRICS": "/metrics is always there",
}
# Names that others use, too: they tell of Evolution API only beside one of its own.
_COMMON = frozenset({"SERVER_URL", "SERVER_PORT", "LOG_LEVEL", "CORS_ORIGIN"})


def overlooked(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable of Evolution API's that would change something and is not read."""
    given = {name for name in INSTEAD if environ.get(name)}
    if not given - _COMMON and not any(environ.get(name) for name in NEEDLESS):
        return []
    known = variables()
    return [
        f"{name}: {INSTEAD[name]}"
        for name in sorted(given)
        if not _is_said(INSTEAD[name], environ, known)
    ]


def _is_said(instead: str, environ: Mapping[str, str], known: Mapping[str, str]) -> bool:
    own = instead.partition(",")[0]
    return own in known and bool(environ.get(own))
