"""What the contract of all sinks does not say of SQS: queues, ids, sizes, who may go where."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.egress import Egress
from schemas.delivery import Delivered, Outcome, Rejected, Retry
from schemas.target import AllowList
from sinks import open_sink
from sinks.sqs_client import SqsPeer
from tests.services import Sqs
from tests.services.fixtures import Services
from tests.sinks.contract import opened
from tests.sinks.given import a_context, a_message, an_event
from tests.sinks.queues import REGION, SqsRig
from tests.sinks.rabbit import NoHttp


@pytest.fixture(scope="module")
def server(services: Services) -> Iterator[Sqs]:
    yield services.own(Sqs)
    services.own(Sqs)


@pytest.fixture
async def rig(server: Sqs) -> AsyncIterator[SqsRig]:
    async with Egress(allow=AllowList.parse(["127.0.0.0/8"])) as egress:
        rig = SqsRig(server.start(), egress, reading=False)
        yield rig
        await rig.close()


async def tried(rig: SqsRig, *messages: Any, **config: Any) -> list[Outcome]:
    sink = open_sink(rig.configured(**config), rig.context)
    outcomes = list(await sink.send(messages or [a_message()]))
    await sink.close()
    return outcomes


async def test_each_event_has_a_fifo_queue_of_its_own(rig: SqsRig) -> None:
    names = ["order.paid", "send.message.update", "group-participants.update", "groups.update"]
    events = [an_event(i, name=name) for i, name in enumerate(names, 1)]

    outcomes = await tried(rig, *map(a_message, events))

    assert [type(outcome) for outcome in outcomes] == [Delivered] * 4
    words = ["group_participants_update", "group_update", "order_paid", "send_message_update"]
    assert rig.names() == [f"{rig.tenant}_loja-1_{word}.fifo" for word in words]
    for word, event in zip(words, [events[2], events[3], events[0], events[1]], strict=True):
        [message] = rig.messages(f"{rig.tenant}_loja-1_{word}.fifo")
        assert message["Attributes"]["MessageGroupId"] == event.key
        assert message["Attributes"]["MessageDeduplicationId"] == event.id
        attributes = {k: v.get("StringValue") for k, v in message["MessageAttributes"].items()}
        assert attributes.keys() == {"event", "instance", "id", "traceparent"}
        assert attributes["instance"] == "loja-1"


async def test_the_default_tenant_is_not_named(rig: SqsRig) -> None:
    instance = f"{rig.tenant}-x"
    await tried(rig, a_message(an_event(instance=instance)), tenant="default", instance=instance)

    assert rig.names() == [f"{instance}_order_paid.fifo"]


async def test_a_retry_is_swallowed_and_a_replay_is_not(rig: SqsRig) -> None:
    event = an_event()
    replayed = a_message(event, dedupe_id=f"{event.id}-again")
    async with opened(rig) as sink:
        for message in (a_message(event), a_message(event, attempt=2), replayed):
            [outcome] = await sink.send([message])
            assert isinstance(outcome, Delivered)

    assert len(rig.messages(rig.names()[0])) == 2


@pytest.mark.parametrize("key", ["pedido nº 1", "x" * 129, "a\nb", "chave com espaço"])
async def test_a_key_that_is_no_group_is_hashed(rig: SqsRig, key: str) -> None:
    [outcome] = await tried(rig, a_message(an_event(key=key)))

    assert isinstance(outcome, Delivered)
    [message] = rig.messages(rig.names()[0])
    assert len(message["Attributes"]["MessageGroupId"]) == 64
    assert message["Attributes"]["MessageGroupId"].isalnum()


async def test_a_standard_queue_has_no_groups(rig: SqsRig) -> None:
    [outcome] = await tried(rig, fifo=False)

    assert isinstance(outcome, Delivered)
    [name] = rig.names()
    assert name == f"{rig.tenant}_loja-1_order_paid"
    [message] = rig.messages(name)
    assert "MessageGroupId" not in message["Attributes"]


async def test_an_existing_queue_is_adopted_as_it_is(rig: SqsRig) -> None:
    name = f"{rig.tenant}_loja-1_order_paid.fifo"
    attributes: Any = {"FifoQueue": "true", "MaximumMessageSize": "2048", "DelaySeconds": "0"}
    rig.client.create_queue(QueueName=name, Attributes=attributes)
    large = an_event(2, data=b'"' + b"x" * 3000 + b'"')

    outcomes = await tried(rig, a_message(an_event(1)), a_message(large))

    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered]
    found = {m["MessageAttributes"]["id"].get("StringValue"): m["Body"] for m in rig.messages(name)}
    assert found[an_event(1).id].encode() == rig.expected(an_event(1))
    assert rig.context.claim_url(large.tenant, large.id) in found[large.id]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"queue_name": "pedidos"}, "{t}-pedidos.fifo"),
        ({"queue_name": "pedidos.fifo"}, "{t}-pedidos.fifo"),
        ({"queue_name": "pedidos", "fifo": False}, "{t}-pedidos"),
        # The name says what it is, whatever the switch.
        ({"queue_name": "pedidos.fifo", "fifo": False}, "{t}-pedidos.fifo"),
    ],
)
async def test_one_queue_may_be_named_for_all(
    rig: SqsRig, config: dict[str, Any], name: str
) -> None:
    config = config | {"queue_name": f"{rig.tenant}-{config['queue_name']}"}
    events = [an_event(1), an_event(2, name="messages.upsert")]

    outcomes = await tried(rig, *map(a_message, events), **config)

    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered]
    assert rig.names() == [name.format(t=rig.tenant)]
    assert len(rig.messages(name.format(t=rig.tenant))) == 2


async def test_a_queue_url_says_where_everything_is(rig: SqsRig) -> None:
    attributes: Any = {"FifoQueue": "true"}
    name = f"{rig.tenant}-named.fifo"
    url = rig.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    [outcome] = await tried(rig, queue_url=url, endpoint_url="")
    [missing] = await tried(rig, queue_url=url.replace("named", "absent"))

    assert isinstance(outcome, Delivered)
    assert len(rig.messages(name)) == 1
    assert isinstance(missing, Retry)
    assert "does not exist" in missing.reason
    assert rig.names() == [name]


@pytest.mark.parametrize(
    ("instance", "word"), [("loja.1", "other characters"), ("l" * 64, "longer than 80")]
)
async def test_a_name_that_no_queue_can_have_is_told(rig: SqsRig, instance: str, word: str) -> None:
    event = an_event(instance=instance, name="shipment.out_for_delivery")

    [outcome] = await tried(rig, a_message(event), instance=instance)

    assert isinstance(outcome, Rejected)
    assert word in outcome.reason
    assert "queue_name" in outcome.reason
    assert not outcome.disable


async def test_characters_that_sqs_refuses_are_escaped(rig: SqsRig) -> None:
    event = an_event(data='{"a":"\ufffe\uffff\u007f\u0085\U0001fffe"}'.encode())

    [outcome] = await tried(rig, a_message(event))

    assert isinstance(outcome, Delivered)
    [message] = rig.messages(rig.names()[0])
    assert '"\\ufffe\\uffff\u007f\u0085\U0001fffe"' in message["Body"]


async def test_what_exceeds_a_message_is_a_claim_check(rig: SqsRig) -> None:
    event = an_event(data=b'"' + b"x" * 1_048_576 + b'"')

    [outcome] = await tried(rig, a_message(event))

    assert isinstance(outcome, Delivered)
    [message] = rig.messages(rig.names()[0])
    assert rig.context.claim_url(event.tenant, event.id) in message["Body"]
    assert len(message["Body"]) < 2000


async def test_a_batch_is_split_by_its_size(rig: SqsRig) -> None:
    events = [an_event(i, data=b'"' + b"%d" % i * 500_000 + b'"') for i in range(1, 6)]

    outcomes = await tried(rig, *map(a_message, events))

    assert [type(outcome) for outcome in outcomes] == [Delivered] * 5
    assert len(rig.messages(rig.names()[0])) == 5


async def test_a_queue_that_is_gone_is_made_again(rig: SqsRig) -> None:
    async with opened(rig) as sink:
        await sink.send([a_message(an_event(1))])
        [name] = rig.names()
        rig.client.delete_queue(QueueUrl=rig.client.get_queue_url(QueueName=name)["QueueUrl"])
        [outcome] = await sink.send([a_message(an_event(2))])

    assert isinstance(outcome, Delivered)
    assert len(rig.messages(name)) == 1


async def test_sinks_of_one_place_share_a_client(rig: SqsRig) -> None:
    changes: list[dict[str, Any]] = [{"id": "a"}, {"id": "b", "timeout": 9.0}, {"region": "eu-1"}]
    sinks: list[Any] = [open_sink(rig.configured(**change), rig.context) for change in changes]
    for sink in sinks:
        await sink.send([a_message()])
    first, second, other = (sink._link for sink in sinks)
    peer: SqsPeer = first.peer

    assert second.peer is peer
    assert other.peer is not peer
    await sinks[0].close()
    assert second.peer is peer
    await sinks[1].close()
    assert second.peer is None
    await sinks[2].close()


async def test_a_tenants_endpoint_goes_through_the_guard(rig: SqsRig) -> None:
    async with Egress() as egress:
        rig.context = a_context(egress)
        [outcome] = await tried(rig)

    assert isinstance(outcome, Retry)
    assert "ssrf_blocked" in outcome.reason
    assert rig.names() == []


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"access_key_id": ""}, "go together"),
        ({"access_key_id": "", "secret_access_key": ""}, "credentials of its own"),
    ],
)
async def test_credentials_are_the_tenants_own(
    rig: SqsRig, config: dict[str, Any], word: str
) -> None:
    [outcome] = await tried(rig, **config)

    assert isinstance(outcome, Retry)
    assert word in outcome.reason


async def test_without_a_place_or_credentials_it_says_what_to_set(
    rig: SqsRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    rig.context = a_context(NoHttp())

    [nowhere] = await tried(rig, endpoint_url="", region="")
    [nobody] = await tried(rig, endpoint_url="", access_key_id="", secret_access_key="")

    assert isinstance(nowhere, Retry)
    assert "SQS_REGION" in nowhere.reason
    assert isinstance(nobody, Retry)
    assert "no AWS credentials" in nobody.reason


async def test_awss_own_chain_serves_when_nothing_is_named(
    rig: SqsRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDCHAIN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the chain")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    rig.context = a_context(NoHttp(), {"sqs": {"endpoint_url": rig.server.url}})

    given = {"endpoint_url": "", "region": "", "access_key_id": "", "secret_access_key": ""}
    [outcome] = await tried(rig, **given)

    assert isinstance(outcome, Delivered)
    assert len(rig.messages(rig.names()[0])) == 1
