"""The faults that must have a test: 25 rows, each with the result it must come to."""

import re
from pathlib import Path

ROWS = {
    1: "kill -9 after the body is read, before COMMIT: no row; told again, one event",
    2: "kill -9 after COMMIT, before the answer: told again, the same event",
    3: "kill -9 after the claim, before sending: the lease ends, somebody else sends",
    4: "kill -9 after the sink's 2xx, before it is written: once more at most, the same id",
    5: "power cut while a thousand are ingested: all acknowledged are there, the file is sound",
    6: "SIGTERM under load: exit 0 in time, no leases left, none lost, none twice",
    7: "SIGSTOP, then SIGCONT: another node delivers, the late result changes nothing",
    8: "eight workers on two nodes race: no (id, token) twice",
    9: "PostgreSQL restarts under load: 503 and Retry-After meanwhile, heals by itself",
    10: "a cut between COMMIT and its answer: 503, told again a duplicate, one event",
    11: "the primary becomes read-only: 503 meanwhile, connections are made anew",
    12: "disk full: 503, not ready, reads and deletes work, heals by itself, sound",
    13: "somebody else locks the SQLite file: 503 after a while, the loop never blocks",
    14: "RabbitMQ restarts in mid publish: told again under the same message id",
    15: "RabbitMQ queue deleted, or memory alarm: a failure, then delivered; memory flat",
    16: "poison: quarantined or dead with a reason, the next events flow",
    17: "NATS killed, or its stream missing: told again under the same id, one copy",
    18: "a hundred parallel copies of one webhook: one event, a hundred 2xx, one id",
    19: "3 of 10 of an SQS batch fail: only these 3 again",
    20: "a hundred sinks that never answer: cut, and a healthy one does not notice",
    21: "a sink that trickles: cut at the total timeout",
    22: "a sink with a gigabyte, or endless headers, to say: little is read, memory flat",
    23: "slow-loris and bombs at ingress: closed, 413, memory flat",
    24: "partition from database or sink, dead DNS: no tries burnt, heals by itself",
    25: "the clock steps: schedules and leases unmoved, ids unique",
}


def test_every_fault_has_a_test() -> None:
    files = Path(__file__).parent.glob("test_*.py")
    marked = {int(n) for f in files for n in re.findall(r"\.fault\((\d+)\)", f.read_text())}
    assert sorted(marked) == sorted(ROWS)
