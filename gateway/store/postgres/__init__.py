"""The engine for many processes on many machines.

`connections.py` holds the pool and says which errors mean "not now", `group_commit.py` gathers
what callers hand in, `append.py` and `settle.py` turn a batch into a few statements, `leases.py`
and `jobs.py` hand out work, `hints.py` wakes other processes, `event_log.py` and `store.py` are
what the gateway sees.
"""

from gateway.store.postgres.store import PostgresStore, open_postgres

__all__ = ["PostgresStore", "open_postgres"]
