"""Evolution API: what an instance's own webhook sends (`{"event", "instance", "data", …}`), and the
body of its channel for other software (`{"numberId", "key", "message", …}`), which becomes the
events that upstream makes of it.

https://doc.evolution-api.com/v2/en/configuration/webhooks
Messages are told apart by event, message id and status; what names no message is always news.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drivers.base import Driver, fact, raw_event
from drivers.hs256 import Hs256
from drivers.read import dig, instant, need, text
from drivers.verify import Choice, Claim, Field, Header, Query, Token, UrlOnly
from schemas.errors import MalformedError
from schemas.events import MESSAGING, Event, expand, family_of
from schemas.request import Grant, Verified

UPSERT = "messages.upsert"
# The first words of the events that are about messages.
FAMILIES = frozenset({"messages", "send"})
# A message can be edited any number of times and keeps its id; it has no status then.
EDITS = frozenset({"messages.edited", "send.message.update"})
# Where a message's id stands: upstream's messages and deletions, updates of v2, those of v1.
ID_PATHS = (("key", "id"), ("keyId",), ("messageId",), ("id",))
CHAT_PATHS = (("key", "remoteJid"), ("remoteJid",), ("id",))


def normalize(v: Verified) -> Sequence[Event]:
    """The event of an envelope, or those of a channel's message."""
    if _is_channel(v.payload):
        return list(_of_channel(v))
    spelling = need(v.payload, "event")
    name = _name(spelling)
    if name is None:
        drift = (f"unknown_event:{spelling}",)
        return [raw_event(v, provider_event=spelling, key=None, drift=drift)]
    data = dig(v.payload, "data")
    return [_event(v, name, spelling, data, _told(name, data))]


def delivery_key(v: Verified) -> str:
    """Names the message and what is said of it; unique where nothing names one."""
    if _is_channel(v.payload):
        name, told = UPSERT, _told(UPSERT, v.payload)
    else:
        name = _name(text(dig(v.payload, "event")) or "") or ""
        told = _told(name, dig(v.payload, "data"))
    return fact(name, told) if told else _once(v)


def _is_channel(payload: Any) -> bool:
    return isinstance(payload, dict) and "event" not in payload and "message" in payload


def _name(spelling: str) -> str | None:
    """The wire name, whatever the spelling (`MESSAGES_UPSERT`, `messages-upsert`)."""
    keys = expand(spelling)
    return MESSAGING.get(keys[0]) if len(keys) == 1 else None


def _of_channel(v: Verified) -> Iterator[Event]:
    """A message, its contact and its chat. `settings.instance_id` goes along as upstream's
    `instanceId`; `settings.chat_is_known`: the chat had a message before.
    """
    body = v.payload
    if not isinstance(body["message"], dict) or not body["message"]:
        raise MalformedError("missing:message")
    chat, picture = need(body, "key", "remoteJid"), body.get("profilePicUrl")
    ours = {"instanceId": v.settings["instance_id"]} if "instance_id" in v.settings else {}
    told = _told(UPSERT, body) or _once(v)
    yield _event(v, UPSERT, UPSERT, _message(v, ours), told)
    contact = {"remoteJid": chat, "pushName": body.get("pushName"), "profilePicUrl": picture}
    yield _event(v, "contacts.upsert", UPSERT, contact | ours, told)
    if v.settings.get("chat_is_known"):
        yield _event(v, "chats.update", UPSERT, {"remoteJid": chat, **ours}, told)
    yield _event(v, "chats.upsert", UPSERT, {"remoteJid": chat, **ours}, told)


def _message(v: Verified, ours: Mapping[str, Any]) -> dict[str, Any]:
    """The message as upstream tells it: received now, from a source it does not know."""
    body = v.payload
    key = {**body["key"], "id": text(dig(body, "key", "id")) or _once(v).upper()}
    if body.get("profilePicUrl"):
        key["profilePicUrl"] = body["profilePicUrl"]
    return {
        "key": {"fromMe": False, **key},
        "pushName": body.get("pushName"),
        "message": body["message"],
        "messageType": body.get("messageType"),
        "messageTimestamp": int(v.received_at.timestamp()),
        "source": "unknown",
        **ours,
    }


def _event(v: Verified, name: str, spelling: str, data: Any, told: str | None) -> Event:
    """`told`: names the fact, None when nothing does. The ordering key is the chat, where there is
    one.
    """
    first = data[0] if isinstance(data, list) and data else data
    chat = next(filter(None, (text(dig(first, *path)) for path in CHAT_PATHS)), None)
    is_message = family_of(name) in FAMILIES and isinstance(data, dict)
    at = (dig(data, "messageTimestamp") or dig(data, "timestampMs")) if is_message else None
    return Event(
        name=name,
        key=chat or family_of(name),
        dedupe_key=told or _once(v),
        provider_event=spelling,
        provider_event_id=_message_id(data) if is_message else None,
        occurred_at=instant(dig(at, "low") or at),  # protobuf's 64-bit numbers come in halves
        data=data,
    )


def _told(name: str, data: Any) -> str | None:
    """What is told of which messages; None unless every one of them is named."""
    messages = data if isinstance(data, list) else [data]
    if family_of(name) not in FAMILIES or not messages:
        return None
    facts = []
    for message in messages:
        ident = _message_id(message)
        if ident is None:
            return None
        more = _changes(name, message)
        facts.append(fact(ident, dig(message, "status"), _digest(more) if more else None))
    return facts[0] if len(facts) == 1 else _digest(facts)


def _changes(name: str, message: Any) -> Any:
    """What may be told of a message again and again under the same status: its text, its votes."""
    if name in EDITS:
        return message
    changed = [dig(message, "message"), dig(message, "pollUpdates")]
    return changed if name == "messages.update" and any(changed) else None


def _message_id(message: Any) -> str | None:
    return next(filter(None, (text(dig(message, *path)) for path in ID_PATHS)), None)


def _once(v: Verified) -> str:
    """Names this delivery and no other."""
    return _digest([v.received_at.isoformat(), v.payload])


def _digest(value: Any) -> str:
    written = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:32]


def _has_no_secret(_claim: Claim, grant: Grant) -> bool:
    return not any(grant.secrets)


# With a secret it must be the key that the sender presents, wherever its own configuration puts it,
# or the `jwt_key` of its webhook's headers. Without one the installation's URL alone protects.
_PLACES = (Header("authorization"), Header("apikey"), Query("apikey"), Field("apikey"))
_JWT = Hs256(Header("authorization"), claims={"app": "evolution"}, needs_secret=False)
SCHEME = Choice(
    options=((_has_no_secret, UrlOnly()), (_JWT.is_presented, _JWT)),
    otherwise=Token(at=_PLACES, required=False, prefix="Bearer "),
)
DRIVER = Driver(
    slug="evolution",
    id="01ke7rhnt6fhb6tsbbhcdpepev",
    name="Evolution API",
    description={
        "pt": "Mensagens, contatos, conversas e conexão de instâncias da Evolution API.",
        "en": "Messages, contacts, chats and connection of Evolution API instances.",
    },
    docs_url="https://doc.evolution-api.com/v2/en/configuration/webhooks",
    scheme=SCHEME,
    normalize=normalize,
    delivery_key=delivery_key,
    supported_events=(*MESSAGING.values(), "provider.event"),
    secret_fields=("apikey",),
)
