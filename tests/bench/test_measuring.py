"""What measures must not lie."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.bench import goals
from tests.bench.figures import Figures
from tests.bench.wire import Load, Receiver, paced, request
from tests.gateway.talk import OK, saying
from tests.sinks.receiver import talking

REFUSED = OK.replace(b"200 OK", b"503 Service Unavailable")
ONE = request("/hook", b"{}", {})


def test_a_figure_is_the_median_of_its_rounds() -> None:
    figures = Figures()
    for value in (30.0, 10.0, 20.0, 1000.0, 15.0):
        figures.note("a", value)
    figures.note("b", 40.0)
    assert figures.median("a") == 20.0
    assert figures.ratio("a", "b") == 0.5
    assert figures.ratio("a", "never measured") is None
    assert figures.report(())["figures"]["a"] == {
        "median": 20.0,
        "low": 10.0,
        "high": 1000.0,
        "rounds": 5,
    }


@pytest.mark.parametrize(
    ("goal", "value", "holds"),
    [
        (goals.at_least, 0.5, True),
        (goals.at_least, 0.49, False),
        (goals.at_most, 0.5, True),
        (goals.at_most, 0.51, False),
    ],
)
def test_a_goal_is_reached_or_not(goal: object, value: float, holds: bool) -> None:
    assert callable(goal)
    figures = Figures()
    wanted = (goal("x", 0.5, lambda found: found.median("x")),)
    assert figures.report(wanted)["goals"] == {}  # nothing was measured
    figures.note("x", value)
    assert figures.report(wanted)["goals"]["x"]["holds"] is holds


def test_what_is_complete_is_held_against_a_handler_and_a_client_in_turn() -> None:
    figures = Figures()
    for name, value in ((goals.H, 3000.0), (goals.C, 6000.0), (goals.COMPLETE, 1500.0)):
        figures.note(name, value)
    judged = figures.report(goals.GOALS)["goals"]["complete / (1 / (1/H + 1/C))"]
    assert judged["value"] == pytest.approx(0.75)


async def test_a_load_counts_what_was_taken() -> None:
    async with talking(saying(OK, OK, OK)) as port:
        load = Load([ONE] * 3, 1)
        assert await load.run(port) > 0
    assert (load.good, load.bad, len(load.latencies)) == (3, 0, 3)


@pytest.mark.parametrize(
    ("answers", "told"), [((OK, REFUSED, OK), "1 .* refused"), ((OK,), "2 .* not answered")]
)
async def test_what_was_not_taken_is_no_rate(answers: tuple[bytes, ...], told: str) -> None:
    async with talking(saying(*answers, hang_up=True)) as port:
        with pytest.raises(AssertionError, match=told):
            await Load([ONE] * 3, 1).run(port)


async def test_what_waited_for_a_connection_waited() -> None:
    """One connection, a request due at once, and an answer that takes a while: the second was late
    by as much.
    """

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n{}")
            await asyncio.sleep(0.2)
            writer.write(OK)

    async with talking(slow) as port:
        load = await paced([ONE] * 2, port, rate=1e6, connections=1)
    first, second = load.latencies
    assert second >= first + 0.15


async def test_a_receiver_tells_how_late_events_came() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def told(what: str) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /{what} HTTP/1.1\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        words = (await reader.read(100)).split()
        writer.close()
        return [float(word) for word in words]

    def envelope(seconds_ago: float) -> bytes:
        at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return request("/hook", b'{"date_time":"%s"}' % text.encode(), {})

    await told("clear")
    await Load([envelope(seconds) for seconds in range(100)] + [envelope(7200)] * 10, 1).run(port)
    count, _ = await told("count")
    p50, p95, p99 = await told("lags")
    assert count == 110
    for share, lag in ((50, p50), (95, p95), (99, p99)):
        assert share * 1000 <= lag < (share + 10) * 1000  # an hour ago was no delivery of now
    assert (await told("clear"))[0] == 0
    assert await told("lags") == [0.0] * 3
    server.close()
    await server.wait_closed()
