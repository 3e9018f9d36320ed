"""The far sides of a benchmark: an HTTP load generator and a receiver on bare protocols, so that
they cost little of the two cores they share with what is measured.
"""

import asyncio
import sys
import time
from array import array
from collections.abc import Iterable
from datetime import datetime
from typing import cast

import uvloop

REPLAYED = 3_600_000.0  # milliseconds; what is older was not received just now
DATE_TIME = b'"date_time":"'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class Receiver(asyncio.Protocol):
    """Answers every POST with 200, counts it, and remembers how long ago its event was received
    (`date_time` of an envelope, in milliseconds).
    """

    count = 0
    last_at = 0.0
    lags = array("d")

    def __init__(self) -> None:
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        answers = 0
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            if head.startswith(b"get /"):
                self._tell(head[5:].split(b" ", 1)[0].decode())
                self.buffer = self.buffer[end + 4 :]
                continue
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self.buffer) < end + 4 + size:
                break
            self._note(self.buffer[end + 4 : end + 4 + size])
            self.buffer = self.buffer[end + 4 + size :]
            answers += 1
        if answers:
            Receiver.count += answers
            assert self.transport
            self.transport.write(OK * answers)

    @staticmethod
    def _note(body: bytes) -> None:
        Receiver.last_at = time.time()
        at = body.find(DATE_TIME)
        if at >= 0:
            start = at + len(DATE_TIME)
            received = datetime.fromisoformat(body[start : start + 24].decode()).timestamp()
            lag = (Receiver.last_at - received) * 1000
            if lag < REPLAYED:
                Receiver.lags.append(lag)

    def _tell(self, what: str) -> None:
        if what == "clear":
            Receiver.count, Receiver.lags = 0, array("d")
        text = f"{Receiver.count} {Receiver.last_at}"
        if what == "lags":
            ordered = sorted(Receiver.lags) or [0.0]
            text = " ".join(f"{ordered[len(ordered) * p // 100]:.3f}" for p in (50, 95, 99))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n"
        assert self.transport
        self.transport.write((head + text).encode())


class Sender(asyncio.Protocol):
    """Sends prebuilt requests one after the other on one connection."""

    def __init__(self, run: "Load") -> None:
        self.run, self.buffer, self.sent_at = run, b"", 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.next()

    def next(self) -> None:
        request = self.run.take()
        assert self.transport
        if request is None:
            self.transport.close()
            return
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + size:
            return
        self.run.answered(time.perf_counter() - self.sent_at, ok=head[9:12] == b"200")
        self.buffer = b""
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.closed()


class Load:
    """Requests over a number of connections; `rate` a second (open loop), or as fast as may be."""

    def __init__(self, requests: list[bytes], connections: int) -> None:
        self.requests, self.connections = requests, connections
        self.at = self.good = self.bad = self.open = 0
        self.latencies = array("d")
        self.done = asyncio.Event()

    def take(self) -> bytes | None:
        if self.at >= len(self.requests):
            return None
        self.at += 1
        return self.requests[self.at - 1]

    def answered(self, seconds: float, *, ok: bool) -> None:
        self.latencies.append(seconds)
        self.good += ok
        self.bad += not ok

    def closed(self) -> None:
        self.open -= 1
        if not self.open:
            self.done.set()

    def expect(self, sent: int) -> None:
        """That so many were answered, all with 200: else a rate of them would be a lie."""
        assert self.bad == 0, f"{self.bad} deliveries were refused"
        assert self.good == sent, f"{sent - self.good} deliveries were not answered"

    async def run(self, port: int) -> float:
        """Seconds it took until all were taken."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        for _ in range(self.connections):
            self.open += 1
            await loop.create_connection(lambda: Sender(self), "127.0.0.1", port)
        await asyncio.wait_for(self.done.wait(), 120)
        seconds = time.perf_counter() - started
        self.expect(len(self.requests))
        return seconds


async def paced(requests: Iterable[bytes], port: int, rate: float, connections: int = 32) -> Load:
    """Open loop: each request at its time, whatever became of the one before. Its latency counts
    from then, also when no connection was free.
    """
    load = Load([], connections)
    idle: asyncio.Queue[Sender] = asyncio.Queue()

    class Paced(Sender):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
            idle.put_nowait(self)

        def next(self) -> None:
            idle.put_nowait(self)

    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: Paced(load), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    started = time.perf_counter()
    sent = 0
    for sent, request in enumerate(requests, 1):
        due = started + (sent - 1) / rate
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        sender = await idle.get()
        assert sender.transport
        sender.sent_at = due
        sender.transport.write(request)
    while idle.qsize() < connections:
        await asyncio.sleep(0.01)
    for sender in made:
        assert sender.transport
        sender.transport.close()
    load.expect(sent)
    return load


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of one POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _receive(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_receive(int(sys.argv[1])))
