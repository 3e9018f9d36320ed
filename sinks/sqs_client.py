"""Clients of SQS: where it is, whose credentials open it, and what its errors mean.

An endpoint that the operator named is AWS's own client's business. One that came with a sink goes
through the gateway's guarded HTTP client, so that it leads nowhere it must not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession, get_session
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError, ClientError

from schemas.sink_config import SqsConfig
from sinks.base import Context, Http, HttpError
from sinks.dial import CONNECT_SECONDS, tls_context, told
from sinks.link import LinkError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

CONNECTIONS = 64
ANSWER_SECONDS = 120.0  # a sink's own deadline is shorter
ANSWER_BYTES = 1_048_576
ANY_REGION = "us-east-1"  # for servers that are not AWS: they ask for one and do not care
NOTHING = (
    "no SQS to send to: set `region`, `queue_url` or `endpoint_url` here, or SQS_REGION on the"
    " server"
)
# https://docs.aws.amazon.com/general/latest/gr/sqs-service.html, with the older spellings
_AWS_QUEUE = re.compile(
    r"https://(?:sqs(?:-fips)?\.(?P<region>[a-z0-9-]+)\.|(?P<older>[a-z0-9-]+)\.queue\.|queue\.)"
    r"(?:amazonaws\.com(?:\.cn)?|api\.aws)/"
)
_DENIED = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an SQS is and how it is entered. `tenant`: whose word leads there, None when it is the
    operator's. `account`: whose queues are adopted, where that is not the credentials' own.
    `fault`: why nothing can be sent like this.
    """

    endpoint: str = ""
    region: str = ""
    key_id: str = ""
    secret: str = field(default="", repr=False)
    tenant: str | None = None
    account: str = ""
    fault: str = ""

    @classmethod
    def of(cls, config: SqsConfig, wide: Mapping[str, Any]) -> Self:
        """What a sink's configuration names, else the server's, else AWS's own chain."""
        theirs = str(wide.get("endpoint_url", ""))
        aws = _AWS_QUEUE.match(config.queue_url)
        endpoint = config.endpoint_url or ("" if aws else _origin(config.queue_url))
        guest = bool(endpoint) and endpoint != _origin(theirs)
        own = bool(config.access_key_id or config.secret_access_key)
        named = (aws["region"] or aws["older"] or ANY_REGION) if aws else ""
        if not endpoint and not aws:
            endpoint = theirs
        return cls(
            endpoint=endpoint,
            region=config.region or named or str(wide.get("region", "")),
            key_id=config.access_key_id if own else str(wide.get("access_key_id", "")),
            secret=config.secret_access_key if own else str(wide.get("secret_access_key", "")),
            tenant=config.tenant if guest else None,
            account="" if own or guest else str(wide.get("account_id", "")),
            fault=_fault(config, own=own, guest=guest),
        )

    def __str__(self) -> str:
        return f"SQS at {urlsplit(self.endpoint).netloc}" if self.endpoint else "SQS"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _fault(config: SqsConfig, *, own: bool, guest: bool) -> str:
    if bool(config.access_key_id) is not bool(config.secret_access_key):
        return "`access_key_id` and `secret_access_key` go together"
    if config.tenant != "default" and not own and (guest or config.queue_url):
        # Else a tenant could reach every queue that the server can, and have it sign for others.
        return "a `queue_url` or `endpoint_url` needs credentials of its own"
    return ""


class SqsPeer:
    """See `sinks.link.Peer`. HTTP has no connection to lose."""

    def __init__(self, client: SQSClient, stack: AsyncExitStack) -> None:
        self.client, self._stack = client, stack

    async def lost(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def close(self) -> None:
        await self._stack.aclose()


async def connect(place: Place, context: Context) -> SqsPeer:
    """A client; nothing is asked of SQS yet. Raises LinkError."""
    if place.fault:
        raise LinkError(place.fault)
    session = get_session()
    async with AsyncExitStack() as stack:
        try:
            await asyncio.to_thread(_read_models, session)
            region = place.region or session.get_config_variable("region")
            if not region and not place.endpoint:
                raise LinkError(NOTHING)
            if not place.key_id and await session.get_credentials() is None:
                raise LinkError("no AWS credentials, neither here nor on the server")
            transport = await _transport(place, context)
            client = await stack.enter_async_context(
                session.create_client(
                    "sqs",
                    region_name=region or ANY_REGION,
                    endpoint_url=place.endpoint or None,
                    aws_access_key_id=place.key_id or None,
                    aws_secret_access_key=place.secret or None,
                    config=_config(context.user_agent, transport),
                )
            )
        except (BotoCoreError, ValueError, OSError) as error:
            raise LinkError(trouble(error).reason) from None
        return SqsPeer(client, stack.pop_all())


def _read_models(session: AioSession) -> None:
    """Have botocore read its files: some 60 ms that the loop need not wait."""
    loader = session.get_component("data_loader")
    for name in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("sqs", name)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)


def _config(user_agent: str, transport: Any) -> AioConfig:
    return AioConfig(
        http_session_cls=transport,
        user_agent_extra=user_agent,
        max_pool_connections=CONNECTIONS,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        parameter_validation=False,  # what we send is made by us
        # One try more for a connection that died of old age; all else is the lane's to time.
        retries={"total_max_attempts": 2, "mode": "standard"},
    )


async def _transport(place: Place, context: Context) -> Any:
    """What makes the HTTP session of a client."""
    if place.tenant is not None:
        return partial(GuardedSession, context.http)
    if context.ca_file:
        return partial(TrustingSession, await asyncio.to_thread(tls_context, context.ca_file))
    return AIOHTTPSession


class TrustingSession(AIOHTTPSession):
    """aiobotocore's own, with authorities of the operator's beside the usual ones."""

    def __init__(self, tls: SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _get_ssl_context(self) -> SSLContext:
        return self._tls


class GuardedSession:
    """An HTTP session, as aiobotocore uses one, over the gateway's guarded client."""

    def __init__(self, http: Http, **_options: Any) -> None:
        self._http = http

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """The client is the gateway's."""

    async def close(self) -> None:
        """The client is the gateway's."""

    async def send(self, request: AWSPreparedRequest) -> AioAWSResponse:
        """Raises HttpError."""
        # Any: the published types say text where botocore, having signed, holds bytes.
        fields: Any = request.headers.items()
        body: Any = request.body
        answer = await self._http.request(
            request.method,
            request.url,
            headers={k: v.decode() if isinstance(v, bytes) else str(v) for k, v in fields},
            body=body.encode() if isinstance(body, str) else body,
            timeout=ANSWER_SECONDS,
            limit=ANSWER_BYTES,
        )
        headers: Any = dict(answer.headers)  # what aiobotocore's own session hands over, too
        return AioAWSResponse(request.url, answer.status, headers, _Raw(answer.body))


class _Raw:
    """A body that was read already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a call failed. `code`: SQS's, without its namespace; empty when no answer came."""

    reason: str
    code: str = ""
    message: str = ""
    after: str | None = None
    ours: bool = False


def trouble(error: Exception) -> Trouble:
    """What an error of a call means, in words without secrets."""
    if isinstance(error, ClientError):
        return _refusal(error)
    if isinstance(error, HttpError):
        kind = "ssrf_blocked" if error.kind == "blocked" else error.kind
        return Trouble(reason=f"{kind}: {error.message}", ours=error.ours)
    if isinstance(error, BotoCoreError) and "error" in error.kwargs:
        cause = error.kwargs["error"]
        cause = getattr(cause, "os_error", cause)
        if isinstance(cause, OSError):
            lost = told(cause)
            return Trouble(reason=lost.reason, ours=lost.ours)
        return Trouble(reason=f"the connection was lost ({type(error).__name__})")
    return Trouble(reason=type(error).__name__)


def _refusal(error: ClientError) -> Trouble:
    told_error, metadata = error.response.get("Error", {}), error.response["ResponseMetadata"]
    code, status = plain_code(str(told_error.get("Code", ""))), metadata.get("HTTPStatusCode", 0)
    # What was denied is told by its name alone: SQS may repeat what was signed, tokens and all.
    message = "" if status in _DENIED else str(told_error.get("Message", ""))[:200]
    said = ": ".join(filter(None, (code, message)))
    return Trouble(
        reason=f"HTTP {status}: {said}" if said else f"HTTP {status}",
        code=code,
        message=message,
        after=metadata.get("HTTPHeaders", {}).get("retry-after") if status in {429, 503} else None,
    )


def plain_code(code: str) -> str:
    """`AWS.SimpleQueueService.NonExistentQueue` and `com.amazonaws.sqs#X` without what is before
    the name.
    """
    return code.rpartition("#")[2].rpartition(".")[2]
