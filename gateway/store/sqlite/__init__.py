"""The embedded engine: one process, one file, nothing to install.

`transaction.py` turns a batch of work into statements, `writer.py` is the thread that commits them,
`readers.py` reads beside it, `event_log.py` and `store.py` are what the gateway sees.
"""

from gateway.store.sqlite.connection import Tuning
from gateway.store.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "Tuning", "open_sqlite"]
