"""What the figures shall come to, on two cores and in one run."""

from collections.abc import Callable

from tests.bench.figures import Figures, Goal

H = "H: bare aiohttp handler, requests/s"
H_ASYNCIO = "the same on asyncio's own loop, requests/s"
C = "C: bare aiohttp client, requests/s"
N = "N: bare nats-py publish, messages/s"
R = "R: bare aio-pika confirms, messages/s"
S = "S: bare batch insert, rows/s"
INGEST = "ingest, requests/s"
COMPLETE = "complete, events/s"
PENDING = tuple(f"RSS MB with many pending, {engine}" for engine in ("sqlite", "postgres"))
STARTS = tuple(f"start with many pending, {engine}, s" for engine in ("sqlite", "postgres"))
COMPLETE_CPU = "complete, CPU µs/event"


def _ideal(figures: Figures) -> float | None:
    """What one process would do with nothing but a bare handler and a bare client in it."""
    handler, client = figures.median(H), figures.median(C)
    return 1 / (1 / handler + 1 / client) if handler and client else None


def _complete(figures: Figures) -> float | None:
    ideal, complete = _ideal(figures), figures.median(COMPLETE)
    return complete / ideal if ideal and complete else None


def _ratio(name: str, to: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(name, to)


def _figure(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.median(name)


def at_least(name: str, value: float, of: Callable[[Figures], float | None]) -> Goal:
    return Goal(name, f">= {value:g}", of, lambda found: found >= value)


def at_most(name: str, value: float, of: Callable[[Figures], float | None]) -> Goal:
    return Goal(name, f"<= {value:g}", of, lambda found: found <= value)


def _lag(rate: int, sinks: int, share: int) -> str:
    return f"receipt to sink at {rate}/s, fan-out {sinks}, p{share} ms"


GOALS = (
    at_least("ingest / H", 0.5, _ratio(INGEST, H)),
    at_least("complete / (1 / (1/H + 1/C))", 0.75, _complete),
    at_most(
        "CPU per event, PostgreSQL, 2 processes / 1",
        1.15,
        _ratio(
            f"{COMPLETE_CPU}, PostgreSQL, 2 processes", f"{COMPLETE_CPU}, PostgreSQL, 1 process"
        ),
    ),
    *(at_most(_lag(200, sinks, 95), 15, _figure(_lag(200, sinks, 95))) for sinks in (1, 10)),
    *(at_most(_lag(200, sinks, 99), 40, _figure(_lag(200, sinks, 99))) for sinks in (1, 10)),
    at_most(_lag(1000, 1, 99), 100, _figure(_lag(1000, 1, 99))),
    at_least("NATS sink / N", 0.7, _ratio("NATS sink, messages/s", N)),
    at_least("RabbitMQ sink / R", 0.7, _ratio("RabbitMQ sink, messages/s", R)),
    at_most(
        "CPU per event with many stored / with none",
        1.2,
        _ratio(f"{COMPLETE_CPU}, many stored", f"{COMPLETE_CPU}, none stored"),
    ),
    at_most(
        "live p99 during a bulk replay / alone",
        2,
        _ratio("live, p99 ms during a replay", "live, p99 ms alone"),
    ),
    at_most("RSS MB at 1000/s", 150, _figure("RSS MB at 1000/s")),
    *(at_most(name, 300, _figure(name)) for name in PENDING),
    *(at_most(name, 5, _figure(name)) for name in STARTS),
)
