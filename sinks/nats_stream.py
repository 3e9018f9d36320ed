"""Where on a NATS server a sink's events go: subjects, and the stream that keeps them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from schemas.sink_config import NatsConfig
from sinks.link import LinkError

DUPLICATE_SECONDS = 120.0
# A stream of our making shall not fill the disk for ever; who wants it otherwise makes their own.
KEPT_SECONDS = 30 * 86_400.0
# A token is what stands between two dots; `$` begins the server's own.
_NO_TOKEN = re.compile(r"[\x00-\x20.*>%$\x7f]")
# What would end a subject: no event's name has it, but what has would be a command to the server.
_SPACE = re.compile(r"[\x00-\x20\x7f]")
# The server's own words say which stream it is.
_OVERLAP = 10065


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects of a sink: `{tenant.}{prefix.}{instance}.{event}`."""

    base: str

    @classmethod
    def of(cls, config: NatsConfig) -> Subjects:
        """Tenants but `default` are told apart by a token of their own."""
        tenant = [] if config.tenant == "default" else [_token(config.tenant)]
        prefix = [config.subject_prefix] if config.subject_prefix else []
        return cls(".".join([*tenant, *prefix, _token(config.instance)]))

    def subject(self, event: str) -> str:
        """Where an event of this name is published."""
        return f"{self.base}.{_SPACE.sub(_escaped, event)}"

    @property
    def stream(self) -> str:
        """The name of the stream we make: different for different bases."""
        name = self.base.replace(".", "+").replace("/", "%2F").replace("\\", "%5C")
        return f"comporta_{name}"

    async def ensure(self, client: Client, subject: str, seconds: float) -> None:
        """See that a stream keeps this subject: any that there is, else a new one.

        Raises LinkError.
        """
        stream = client.jetstream(timeout=seconds)
        try:
            try:
                await stream.find_stream_name_by_subject(subject)
            except NotFoundError:
                await stream.add_stream(
                    StreamConfig(
                        name=self.stream,
                        subjects=[f"{self.base}.>"],
                        storage=StorageType.FILE,
                        duplicate_window=DUPLICATE_SECONDS,
                        max_age=KEPT_SECONDS,
                    )
                )
        except ServiceUnavailableError as error:
            raise LinkError(
                error.description or "JetStream is not there (`jetstream: false` does without)"
            ) from None
        except APIError as error:
            hint = f" (add {subject} to yours)" if error.err_code == _OVERLAP else ""
            raise LinkError(f"no stream keeps {subject}: {error.description}{hint}") from None
        except (Error, TimeoutError):
            raise LinkError(f"it did not say which stream keeps {subject}") from None


def _token(text: str) -> str:
    """One token whatever the text, and another one for another text."""
    return _NO_TOKEN.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"
