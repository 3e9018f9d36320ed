"""A store that has long been in use: millions of finished events, made by the database itself."""

import time
from pathlib import Path

import apsw

AGE = 2 * 86_400_000_000  # microseconds; nobody takes them for live ones, and nothing purges them
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
PAYLOAD = b'{"order":{"id":"stored","status":"paid","total":19900},"extra":"' + b"x" * 400 + b'"}'
# Columns and their values for the i-th row; `{at}` is when it came.
TABLES = {
    "inbounds": {
        "id": "printf('01hj000000%016d', i)",
        "tenant": "'default'",
        "instance": "'bench'",
        "installation_id": "'stored'",
        "driver": "'kiwify'",
        "received_at": "{at}",
        "method": "'POST'",
        "query": "x'7b7d'",
        "headers": "x'7b7d'",
        "body": ":payload",
        "outcome": "'accepted'",
        "delivery_key": "printf('stored-%09d', i)",
        "events": "'[]'",
    },
    "events": {
        "seq": "i",
        "id": "printf('01hj000001%016d', i)",
        "tenant": "'default'",
        "instance": "'bench'",
        "installation_id": "'stored'",
        "driver": "'kiwify'",
        "name": "'order.paid'",
        "key": "printf('stored-%09d', i)",
        "dedupe_key": "printf('stored-%09d', i)",
        "weight": "40",
        "occurred_at": "{at}",
        "received_at": "{at}",
        "provider_event": "'order_approved'",
        "inbound_id": "printf('01hj000000%016d', i)",
        "version": "1",
        "test": "0",
        "superseded": "0",
        "data": ":payload",
    },
    "seen": {"digest": "randomblob(16)", "ref": "printf('01hj%022d', i)"},
    "deliveries": {
        "id": "printf('01hj000002%016d', i)",
        "seq": "i",
        "sink_id": ":sink",
        "tenant": "'default'",
        "instance": "'bench'",
        "state": ":state",
        "attempts": ":tries",
        "next_at": "{at}",
        "created_at": "{at}",
        "updated_at": "{at}",
    },
    "attempts": {
        "delivery_id": "printf('01hj000002%016d', i)",
        "number": "1",
        "at": "{at}",
        "duration_ms": "5.0",
        "outcome": "'succeeded'",
        "status": "200",
        "exchange": "x'7b7d'",
        "body": "x'6f6b'",
    },
}


def fill(folder: Path, count: int, sink: str, state: str = "succeeded") -> None:
    """`count` events of two days ago with a delivery each, into a store that was closed in
    order.
    """
    first = time.time_ns() // 1000 - AGE
    tries = int(state != "pending")
    known = {"count": count, "payload": PAYLOAD, "sink": sink, "state": state, "tries": tries}
    connection = apsw.Connection(str(next((folder / "data").glob("*.db"))))
    try:
        connection.execute("PRAGMA synchronous = OFF")  # before the measurement
        for table, columns in TABLES.items():
            if table == "attempts" and not tries:
                continue
            sql = _insert(table, columns).replace("{at}", f"({first} + i * 1000)")
            with connection:
                connection.execute(sql, {k: v for k, v in known.items() if f":{k}" in sql})
        connection.execute("ANALYZE")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()


def _insert(table: str, columns: dict[str, str]) -> str:
    names, values = ", ".join(columns), ", ".join(columns.values())
    return f"INSERT INTO {table} ({names}) {NUMBERS} SELECT {values} FROM n"
