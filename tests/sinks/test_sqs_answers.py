"""What an SQS may answer that no server of ours does at will: refusals, throttling, nonsense."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.egress import Egress
from schemas.delivery import Delivered, Outcome, Rejected, Retry
from schemas.sink_config import SqsConfig
from schemas.target import AllowList
from sinks import open_sink
from sinks.base import Context
from sinks.sqs_client import Place
from tests.sinks.given import a_context, a_message, an_event
from tests.sinks.rabbit import NoHttp
from tests.sinks.receiver import Got, Receiver, receiving
from tests.sinks.tls import self_signed

SECRET = "s3cret/of+the/loja"
OWN = {"access_key_id": "AKIDLOJA", "secret_access_key": SECRET}
Answers = dict[str, Callable[[Any], Any]]


def all_sent(asked: Any) -> Any:
    return {"Successful": [{"Id": e["Id"], "MessageId": e["Id"]} for e in asked["Entries"]]}


def refused(code: str, message: str = "said", status: int = 400) -> Callable[[Any], web.Response]:
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message})
    headers = {"Retry-After": "9"}
    return lambda _: web.Response(status=status, text=body, headers=headers)


class Far:
    """Speaks the JSON protocol of SQS. `answers`: by operation, of what was asked."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.batches: list[list[str]] = []
        self.answers: Answers = {
            "GetQueueUrl": lambda asked: {"QueueUrl": f"{self.url}/1/{asked['QueueName']}"},
            "GetQueueAttributes": lambda _: {"Attributes": {"MaximumMessageSize": "262144"}},
            "SendMessageBatch": all_sent,
        }
        receiver.answer = self._answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}"

    def _answer(self, got: Got) -> web.Response:
        operation = got.headers["X-Amz-Target"].partition(".")[2]
        asked = json.loads(got.body)
        if operation == "SendMessageBatch":
            self.batches.append([entry["MessageAttributes"]["id"] for entry in asked["Entries"]])
        answer = self.answers[operation](asked)
        if isinstance(answer, web.Response):
            return answer
        return web.json_response(answer, content_type="application/x-amz-json-1.0")


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    async with receiving() as receiver:
        yield Far(receiver)


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    async with Egress(allow=AllowList.parse(["127.0.0.0/8"])) as egress:
        yield a_context(egress, timeout=10.0)


async def tried(
    far: Far, context: Context, count: int = 1, data: bytes = b"{}", **config: Any
) -> list[Outcome]:
    fields: dict[str, Any] = {"id": "1", "tenant": "acme", "instance": "loja-1"}
    fields |= {"endpoint_url": far.url, "region": "sa-east-1", **OWN}
    sink = open_sink(SqsConfig(**(fields | config)), context)
    events = [an_event(i, data=data) for i in range(1, count + 1)]
    outcomes = list(await sink.send(list(map(a_message, events))))
    assert SECRET not in f"{outcomes} {sink.health()} {sink!r}"
    await sink.close()
    return outcomes


def failed(at: int, **failure: Any) -> Callable[[Any], Any]:
    """All are sent but the one at this place."""

    def answer(asked: Any) -> Any:
        sent = all_sent(asked)["Successful"]
        lost = sent.pop(at)
        return {"Successful": sent, "Failed": [{"Id": lost["Id"], **failure}] if failure else []}

    return answer


@pytest.mark.parametrize(
    ("failure", "kind", "word"),
    [
        ({"SenderFault": True, "Code": "InvalidMessageContents"}, Rejected, "InvalidMessage"),
        (
            {"SenderFault": True, "Code": "AWS.SimpleQueueService.X", "Message": "y"},
            Rejected,
            "X: y",
        ),
        ({"SenderFault": True, "Code": "RequestThrottled"}, Retry, "RequestThrottled"),
        ({"SenderFault": False, "Code": "InternalError"}, Retry, "InternalError"),
        ({}, Retry, "did not say"),
    ],
)
async def test_what_fails_in_a_batch_is_told_for_itself(
    far: Far, context: Context, failure: dict[str, Any], kind: type[Outcome], word: str
) -> None:
    far.answers["SendMessageBatch"] = failed(1, **failure)

    outcomes = await tried(far, context, 3)

    assert [type(outcome) for outcome in outcomes] == [Delivered, kind, Delivered]
    assert not isinstance(outcomes[1], Delivered)
    assert word in outcomes[1].reason


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        (refused("ThrottlingException"), Retry, "ThrottlingException"),
        (refused("RequestThrottled", status=429), Retry, "RequestThrottled"),
        (refused("ServiceUnavailable", status=503), Retry, "503"),
        (refused("InternalFailure", status=500), Retry, "500"),
        (refused("AccessDeniedException", f"token {SECRET}", 403), Retry, "AccessDenied"),
        (refused("KmsInvalidState"), Retry, "KmsInvalidState"),
        (refused("InvalidMessageContents"), Rejected, "InvalidMessageContents"),
        (refused("UnsupportedOperation"), Rejected, "UnsupportedOperation"),
        (lambda _: web.Response(status=502, text="<html>bad gateway</html>"), Retry, "502"),
        (lambda _: web.Response(status=200, text="not json"), Retry, ""),
        (lambda _: {"Successful": [{"Id": "77"}], "Failed": [{}]}, Retry, ""),
    ],
)
async def test_what_a_refused_call_means(
    far: Far, context: Context, answer: Any, kind: type[Outcome], word: str
) -> None:
    far.answers["SendMessageBatch"] = answer

    [outcome] = await tried(far, context)

    assert type(outcome) is kind
    assert not isinstance(outcome, Delivered)
    assert word in outcome.reason
    if isinstance(outcome, Retry):
        is_busy = "HTTP 429" in outcome.reason or "HTTP 503" in outcome.reason
        assert outcome.after == (9 if is_busy else None)


async def test_one_bad_message_does_not_spoil_the_others(far: Far, context: Context) -> None:
    bad = an_event(2).id

    def answer(asked: Any) -> Any:
        ids = [entry["MessageAttributes"]["id"]["StringValue"] for entry in asked["Entries"]]
        return refused("InvalidParameterValue")(asked) if bad in ids else all_sent(asked)

    far.answers["SendMessageBatch"] = answer

    outcomes = await tried(far, context, 3)

    assert [type(outcome) for outcome in outcomes] == [Delivered, Rejected, Delivered]


async def test_a_limit_that_shrank_is_read_again(far: Far, context: Context) -> None:
    limits = iter(["262144", "1100"])

    def answer(asked: Any) -> Any:
        [body] = [entry["MessageBody"] for entry in asked["Entries"]]
        if "claim_url" in body:
            return all_sent(asked)
        message = "One or more parameters are invalid. Reason: Message must be shorter than 1100"
        return refused("InvalidParameterValue", message)(asked)

    far.answers["SendMessageBatch"] = answer
    far.answers["GetQueueAttributes"] = lambda _: {
        "Attributes": {"MaximumMessageSize": next(limits, "1100")}
    }
    fields: dict[str, Any] = {"id": "1", "tenant": "acme", "instance": "loja-1", **OWN}
    sink = open_sink(SqsConfig(**fields, endpoint_url=far.url), context)
    large = an_event(data=b'"' + b"x" * 2000 + b'"')
    [outcome] = await sink.send([a_message(large)])
    await sink.close()

    assert isinstance(outcome, Delivered), outcome


async def test_a_queue_that_may_not_be_asked_has_the_least_limit(
    far: Far, context: Context
) -> None:
    far.answers["GetQueueAttributes"] = refused("AccessDeniedException", status=403)

    assert [type(outcome) for outcome in await tried(far, context)] == [Delivered]


async def test_a_queue_that_cannot_be_found_or_made_is_a_retry(far: Far, context: Context) -> None:
    far.answers["GetQueueUrl"] = refused("QueueDoesNotExist")
    far.answers["CreateQueue"] = refused("QueueDeletedRecently")

    [outcome] = await tried(far, context)

    assert isinstance(outcome, Retry)
    assert "QueueDeletedRecently" in outcome.reason
    assert far.batches == []


async def test_fifty_go_in_batches_of_ten(far: Far, context: Context) -> None:
    outcomes = await tried(far, context, 50)

    assert [type(outcome) for outcome in outcomes] == [Delivered] * 50
    assert [len(batch) for batch in far.batches] == [10] * 5


async def test_a_batch_is_bounded_as_a_message_is(far: Far, context: Context) -> None:
    outcomes = await tried(far, context, 5, b'"' + b"x" * 100_000 + b'"')

    assert [type(outcome) for outcome in outcomes] == [Delivered] * 5
    assert [len(batch) for batch in far.batches] == [2, 2, 1]


async def test_tls_trusts_the_operators_authorities(far: Far, tmp_path: Path) -> None:
    tls, bundle = self_signed(tmp_path, "localhost")
    await far.receiver.stop()
    await far.receiver.start(tls)
    wide = {"endpoint_url": f"https://localhost:{far.receiver.port}", "region": "sa-east-1"}
    wide |= {"access_key_id": "AKID", "secret_access_key": SECRET}
    plain: dict[str, Any] = {"endpoint_url": "", "access_key_id": "", "secret_access_key": ""}
    server = {"sqs": wide}

    [distrusted] = await tried(far, a_context(NoHttp(), server), **plain)
    trusting = a_context(NoHttp(), server, ca_file=str(bundle))
    [trusted] = await tried(far, trusting, **plain)

    assert isinstance(distrusted, Retry)
    assert distrusted.reason.partition(": ")[2].startswith("tls: certificate refused")
    assert isinstance(trusted, Delivered), trusted


AWS = "https://sqs.sa-east-1.amazonaws.com/123456789012/q.fifo"


@pytest.mark.parametrize(
    ("config", "wide", "endpoint", "region", "guest"),
    [
        ({}, {"region": "eu-west-1"}, "", "eu-west-1", False),
        ({"region": "us-east-2"}, {"region": "eu-west-1"}, "", "us-east-2", False),
        ({"queue_url": AWS}, {"region": "eu-west-1"}, "", "sa-east-1", False),
        ({"queue_url": AWS}, {"endpoint_url": "http://elastic:9324"}, "", "sa-east-1", False),
        ({"queue_url": "https://q.example/1/x"}, {}, "https://q.example", "", True),
        (
            {"queue_url": "http://sqs.x.amazonaws.com/1/x"},
            {},
            "http://sqs.x.amazonaws.com",
            "",
            True,
        ),
        ({"endpoint_url": "https://q.example"}, {}, "https://q.example", "", True),
        ({}, {"endpoint_url": "http://elastic:9324"}, "http://elastic:9324", "", False),
        (
            {"queue_url": "http://elastic:9324/1/x"},
            {"endpoint_url": "http://elastic:9324"},
            "http://elastic:9324",
            "",
            False,
        ),
    ],
)
def test_where_an_sqs_is(
    config: dict[str, Any], wide: dict[str, str], endpoint: str, region: str, guest: bool
) -> None:
    place = Place.of(SqsConfig(id="1", tenant="default", instance="a", **config), wide)

    assert (place.endpoint, place.region, place.tenant is not None) == (endpoint, region, guest)
    assert not place.fault
