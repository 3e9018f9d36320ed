"""The NATS sink: JetStream, every message acknowledged, the event's id as the message's.

A stream is looked for before the first message of a subject: where a mere subscriber listens,
nobody would answer us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

import orjson
from nats.js.api import Header

from schemas.delivery import Delivered, Health, Message, Outcome, Retry
from schemas.envelope import claim, envelope, trace_parent, wire_name
from schemas.sink_config import NatsConfig, SinkConfig
from sinks.base import Context, Sink
from sinks.flight import Flight, grounded
from sinks.link import Link, LinkError
from sinks.nats_peer import STUCK, Dialler, Login, NatsPeer, Place
from sinks.nats_stream import Subjects
from sinks.nats_wire import VERSION_LINE, Answer, Publication, header_lines, one_line

BATCH_SIZE, PARALLEL = 128, 4
HEADER_BYTES = 2048  # at most; they count towards the server's limit, too
LOOKUP_SECONDS = 5.0
NO_RESPONDERS = "503"
MESSAGE_TOO_LARGE = 10054  # for the stream; what is too large for the server we see before
DELIVERED = Delivered()
# These may do better in a second round, at once.
UNHEARD = Retry(reason="no stream took it")
TOO_LARGE = Retry(reason="too large for the stream")
NOTHING = "no NATS to publish to: set `url` here, or NATS_URL on the server"


def open_nats(config: SinkConfig, context: Context) -> Sink:
    """The sink of a NATS configuration."""
    if not isinstance(config, NatsConfig):
        raise TypeError(f"a {config.kind} configuration is not NATS's")
    return NatsSink(config, context)


class NatsSink:
    """See `sinks.base.Sink`. The connection is shared."""

    batch_size = BATCH_SIZE

    def __init__(self, config: NatsConfig, context: Context) -> None:
        self._config, self._context = config, context
        self.parallel = config.concurrency or PARALLEL
        self._timeout = config.timeout or context.timeout
        self._subjects = Subjects.of(config)
        named = config.stream and config.jetstream
        expected = {Header.EXPECTED_STREAM.value: config.stream} if named else {}
        self._expected = header_lines(expected)
        self._subject = lru_cache(256)(self._subjects.subject)  # one per event name: they are few
        self._named = lru_cache(256)(self._name)
        self._urls = config.url or context.server_wide.get("nats", {}).get("url", "")
        self._place = "NATS"
        self._link: Link[NatsPeer] | None = None
        self._looking = asyncio.Lock()
        self._kept: set[str] = set()  # subjects that a stream keeps
        self._flight = Flight()
        self._error: str | None = None

    def __repr__(self) -> str:
        return f"NatsSink({self._config.id})"

    async def send(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """See `sinks.base.Sink.send`."""
        if self._flight.closed:
            return grounded(len(batch))
        with self._flight.one():
            deadline = asyncio.get_running_loop().time() + self._timeout
            outcomes = await self._round(batch, deadline)
            again = [i for i, o in enumerate(outcomes) if o is UNHEARD or o is TOO_LARGE]
            if again:  # the stream is gone and is made again, or the message made smaller: once
                large = frozenset(batch[i].event.id for i in again if outcomes[i] is TOO_LARGE)
                second = await self._round([batch[i] for i in again], deadline, large)
                for i, outcome in zip(again, second, strict=True):
                    outcomes[i] = self._final(outcome)
        failures = (outcome.reason for outcome in outcomes if not isinstance(outcome, Delivered))
        self._error = next(failures, None)
        return outcomes

    def health(self) -> Health:
        """How the connection is, and what went wrong last. `lossy`: core NATS keeps nothing."""
        peer = self._link.peer if self._link else None
        if self._link is None:
            state = "unknown"
        elif peer is None:
            state = "connecting"
        elif peer.stuck:
            state = "blocked"
        else:
            state = "failing" if self._error else "ok"
        lost = self._link.error if self._link and not peer else None
        error = self._error or (f"{self._place}: {lost.reason}" if lost else None)
        detail = {"error": error} if error else {}
        return Health(
            state=state, detail=detail if self._config.jetstream else {**detail, "lossy": True}
        )

    async def close(self) -> None:
        """See `sinks.base.Sink.close`."""
        await self._flight.close()
        link, self._link = self._link, None
        if link is not None:
            await self._context.links.leave(link)

    async def _round(
        self, batch: Sequence[Message], deadline: float, large: frozenset[str] = frozenset()
    ) -> list[Outcome]:
        """Try each message once; UNHEARD and TOO_LARGE may do better in another round.

        `large`: ids of events that go as a claim.
        """
        try:
            async with asyncio.timeout_at(deadline):
                peer = await self._ready()
                refused = await self._look_for_streams(peer, batch)
        except LinkError as error:
            return [self._retry(error.reason, counts=not error.ours)] * len(batch)
        except TimeoutError:
            return [self._retry(f"no answer within {self._timeout:g} s")] * len(batch)
        send = self._stream if self._config.jetstream else self._shout
        return await send(peer, batch, deadline, large, refused)

    async def _ready(self) -> NatsPeer:
        peer = await self._linked().ready()
        if peer.stuck:
            raise LinkError(STUCK)
        return peer

    def _linked(self) -> Link[NatsPeer]:
        if not self._urls:
            raise LinkError(NOTHING)
        if self._link is None:
            context, config, own = self._context, self._config, bool(self._config.url)
            login = Login(
                user=config.user,
                password=config.password,
                token=config.token,
                creds=config.creds,
                nkey_seed=config.nkey_seed,
            )
            guard = context.guard if own else None
            dial = Dialler(
                self._urls, login, guard=guard, ca_file=context.ca_file, name=context.user_agent
            )
            key = ("nats", self._urls, login, config.tenant if own else None)
            self._link = context.links.take(key, dial)
            self._place = ", ".join(str(Place.parse(url)) for url in dial.urls)
        return self._link

    async def _look_for_streams(
        self, peer: NatsPeer, batch: Sequence[Message]
    ) -> Mapping[str, str]:
        """Subjects that no stream keeps, and why. A stream that is named keeps what it keeps."""
        if not self._config.jetstream or self._config.stream:
            return {}
        refused: dict[str, str] = {}
        subjects = {self._subject(name) for name in {message.event.name for message in batch}}
        if subjects <= self._kept:
            return refused
        async with self._looking:
            for subject in sorted(subjects - self._kept):
                try:
                    seconds = min(LOOKUP_SECONDS, self._timeout)
                    await self._subjects.ensure(peer.client, subject, seconds)
                    self._kept.add(subject)
                except LinkError as error:
                    refused[subject] = error.reason
        return refused

    async def _stream(
        self,
        peer: NatsPeer,
        batch: Sequence[Message],
        deadline: float,
        large: frozenset[str],
        refused: Mapping[str, str],
    ) -> list[Outcome]:
        """Through JetStream: one acknowledgement for each message."""
        if refused:
            kept = [m for m in batch if self._subject(m.event.name) not in refused]
            some = await self._stream(peer, kept, deadline, large, {}) if kept else []
            left = iter(some)
            reasons = (refused.get(self._subject(m.event.name)) for m in batch)
            return [next(left) if why is None else self._retry(why) for why in reasons]
        subjects = [self._subject(message.event.name) for message in batch]
        publications = (self._publication(peer, message, large) for message in batch)
        with peer.awaiting(subjects) as (inbox, answers):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await peer.ask(publications, inbox, answers)
            pairs = zip(subjects, answers.given, strict=True)
            return [self._outcome(peer, subject, answer) for subject, answer in pairs]

    async def _shout(
        self,
        peer: NatsPeer,
        batch: Sequence[Message],
        deadline: float,
        large: frozenset[str],
        refused: Mapping[str, str],
    ) -> list[Outcome]:
        """By core NATS: the server has read it, whoever hears it."""
        subjects = [self._subject(message.event.name) for message in batch]
        before = {subject: peer.denials(subject) for subject in subjects}
        try:
            async with asyncio.timeout_at(deadline):
                await peer.tell(self._publication(peer, message, large) for message in batch)
            await peer.flush(deadline - asyncio.get_running_loop().time())
        except LinkError as error:
            return [self._retry(error.reason)] * len(batch)
        except TimeoutError:
            return [self._retry(f"no answer within {self._timeout:g} s")] * len(batch)
        return [
            self._retry(f"it forbids us to publish to {subject}")
            if peer.denials(subject) > before[subject]
            else DELIVERED
            for subject in subjects
        ]

    def _publication(self, peer: NatsPeer, message: Message, large: frozenset[str]) -> Publication:
        event = message.event
        subject, named = self._named(event.name, event.instance)
        trace = message.traceparent or trace_parent(
            event.id, f"{message.delivery_id}/{message.attempt}"
        )
        headers = (
            f"{VERSION_LINE}{Header.MSG_ID.value}: {one_line(message.dedupe_id)}\r\n{named}"
            f"id: {one_line(event.id)}\r\nattempt: {message.attempt}\r\n"
            f"traceparent: {one_line(trace)}\r\n{self._expected}\r\n"
        )
        return subject, headers.encode(), self._body(peer, message, large)

    def _name(self, name: str, instance: str) -> tuple[bytes, str]:
        """What all messages of a name share: the subject, and some headers."""
        fields = {"event": wire_name(name, self._config.naming), "instance": instance}
        return self._subject(name).encode(), header_lines(fields)

    def _body(self, peer: NatsPeer, message: Message, large: frozenset[str]) -> bytes:
        event = message.event
        body = b"" if event.id in large else self._envelope(message)
        if not body or len(body) > peer.client.max_payload - HEADER_BYTES:
            url = self._context.claim_url(event.tenant, event.id)
            return self._envelope(message, claim(url, len(event.data)))
        return body

    def _envelope(self, message: Message, data: bytes | None = None) -> bytes:
        return envelope(
            message.event,
            naming=self._config.naming,
            server_url=self._context.server_url,
            apikey=self._config.shown_apikey,
            data=data,
            gap=message.gap,
        )

    def _outcome(self, peer: NatsPeer, subject: str, answer: Answer | None) -> Outcome:
        """What the answer to a message, or the lack of one, means."""
        if answer is None:
            self._kept.discard(subject)
            trouble = f" ({peer.error})" if peer.error else ""
            return self._retry(f"no acknowledgement within {self._timeout:g} s{trouble}")
        if isinstance(answer, LinkError):
            return self._retry(answer.reason)
        if not answer.data and (answer.headers or {}).get(Header.STATUS.value) == NO_RESPONDERS:
            self._kept.discard(subject)
            if self._config.stream:
                return self._retry(f"no stream keeps {subject}, nor does {self._config.stream}")
            return UNHEARD
        return self._judged(answer.data, subject)

    def _judged(self, data: bytes, subject: str) -> Outcome:
        try:
            answer = orjson.loads(data)
            failure = answer.get("error")
            if failure is None and answer["stream"]:
                return DELIVERED  # also when it is a duplicate: then it was there before
            if failure["err_code"] == MESSAGE_TOO_LARGE:
                return TOO_LARGE
            return self._retry(f"the stream refuses {subject}: {failure['description']}")
        except (ValueError, LookupError, TypeError, AttributeError):
            return self._retry(f"something that is no stream answered on {subject}")

    def _final(self, outcome: Outcome) -> Outcome:
        """There is no third round."""
        if outcome is UNHEARD or outcome is TOO_LARGE:
            return self._retry(outcome.reason)
        return outcome

    def _retry(self, reason: str, *, counts: bool = True) -> Retry:
        return Retry(reason=f"{self._place}: {reason}"[:600], counts=counts)
