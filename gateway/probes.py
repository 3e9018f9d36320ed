"""What `comporta doctor` asks of the world: the kernel's clock, brokers, our public address.

A broker is asked for no more than the first words of its protocol: whether it lets us in, and to
which queues, the test endpoint of a sink tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Literal
from urllib.parse import urlsplit

from gateway.settings import Settings

SECONDS = 5.0
UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
TIMEX_BYTES = 512  # more than struct timex has anywhere
AMQP = b"AMQP\x00\x00\x09\x01"
Trouble = tuple[str, str, str]  # the variable, what is wrong (empty: nothing), what to do


class Unreachable(Exception):  # noqa: N818 - it is told, not handled as an error
    """Our public address does not lead to us. The message goes on after the URL."""

    def __init__(self, told: str, advice: str, level: Literal["warn", "fail"] = "fail") -> None:
        super().__init__(told)
        self.advice, self.level = advice, level


def clock_is_kept() -> bool | None:
    """Whether something disciplines the kernel's clock; None where the kernel does not tell."""
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None:
        return None
    state = adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return None if state < 0 else bool(state != UNSYNCHRONISED)


async def brokers(settings: Settings) -> list[Trouble]:
    """Every server-wide connection that is configured."""
    rabbitmq = settings.rabbitmq_uri.get_secret_value()
    nats = settings.nats_url.get_secret_value()
    asked = [("RABBITMQ_URI", _amqp(rabbitmq))] if rabbitmq else []
    asked += [("NATS_URL", _nats(one.strip())) for one in nats.split(",") if one.strip()]
    endpoint = settings.sqs_base_url or (
        f"https://sqs.{settings.sqs_region}.amazonaws.com" if settings.sqs_region else ""
    )
    if endpoint:
        asked.append(("SQS_BASE_URL" if settings.sqs_base_url else "SQS_REGION", _http(endpoint)))
    if settings.pusher_host:
        host = settings.pusher_host
        asked.append(("PUSHER_HOST", _http(host if "://" in host else f"https://{host}")))
    elif settings.pusher_cluster:
        url = f"https://api-{settings.pusher_cluster}.pusher.com"
        asked.append(("PUSHER_GLOBAL_CLUSTER", _http(url)))
    troubles = await asyncio.gather(*(probe for _, probe in asked))
    return [
        (name, trouble, f"check {name}, and whether this machine may reach it" if trouble else "")
        for (name, _), trouble in zip(asked, troubles, strict=True)
    ]


async def _amqp(url: str) -> str:
    secure = url.startswith("amqps")
    return await _greeted(url, 5671 if secure else 5672, AMQP, b"\x01", secure=secure)


async def _nats(url: str) -> str:
    return await _greeted(url if "://" in url else f"nats://{url}", 4222, b"", b"INFO ")


async def _http(url: str) -> str:
    secure = url.startswith("https")
    return await _greeted(url, 443 if secure else 80, b"", b"", secure=secure)


async def _greeted(url: str, port: int, say: bytes, hear: bytes, *, secure: bool = False) -> str:
    """What is wrong with whoever is there: they must answer `say` with `hear`."""
    try:
        host, at = urlsplit(url).hostname or "localhost", urlsplit(url).port or port
    except ValueError:
        return "is not a URL"
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(host, at, ssl=secure or None)
            try:
                writer.write(say)
                heard = await reader.readexactly(len(hear))
            finally:
                writer.close()
    except TimeoutError:
        return f"{host}:{at} does not answer"
    except asyncio.IncompleteReadError:
        return f"{host}:{at} hangs up"
    except ssl.SSLError as error:
        return f"{host}:{at} has no certificate we trust: {error.reason or error}"
    except OSError as error:
        return f"{host}:{at} cannot be reached: {error.strerror or error}"
    return "" if heard == hear else f"what answers at {host}:{at} speaks another protocol"


def public_answer(settings: Settings, clock: Callable[[], int]) -> float:
    """Ask our own public address; gives by how many seconds its clock is behind ours. `clock`:
    microseconds. Raises Unreachable.
    """
    url, host = settings.base_url, urlsplit(settings.base_url).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        raise Unreachable("is a name nobody knows", f"make a DNS record for {host}") from None
    try:
        with urllib.request.urlopen(  # noqa: S310 - http(s), as settings have checked
            f"{url}/healthz", timeout=SECONDS, context=_trust(settings)
        ) as answer:
            status, date = answer.read(1000), answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        advice = "have the proxy pass everything on to this gateway"
        raise Unreachable(f"answers {error.code} to /healthz", advice) from None
    except (OSError, HTTPException) as error:
        raise Unreachable(
            f"cannot be reached from here: {getattr(error, 'reason', error)}",
            "see that it is open from outside; from inside some networks it never is",
            "warn",
        ) from None
    with contextlib.suppress(ValueError, AttributeError):
        if json.loads(status).get("status") == "ok":
            return clock() / 1e6 - parsedate_to_datetime(date).timestamp() if date else 0.0
    raise Unreachable("leads to another program", "point the name, or the proxy, to this gateway")


def _trust(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.ca_file:
        context.load_verify_locations(settings.ca_file)
    return context
