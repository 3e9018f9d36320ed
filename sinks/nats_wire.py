"""Messages as NATS's protocol writes them, and the answers to a batch of them.

nats-py publishes one message at a time and looks at each header of each, which takes longer than
all the rest of a delivery; so this part of the protocol is ours.
https://docs.nats.io/reference/reference-protocols/nats-protocol#hpub
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nats.aio.msg import Msg

from sinks.answers import Answers
from sinks.link import LinkError

Publication = tuple[bytes, bytes, bytes]  # subject, headers (with their empty line), body
Answer = Msg | LinkError
VERSION_LINE = "NATS/1.0\r\n"
_BREAKS = str.maketrans({"\r": " ", "\n": " "})


def header_lines(fields: Mapping[str, str]) -> str:
    """Lines of headers, for `Publication` after VERSION_LINE."""
    return "".join(f"{name}: {one_line(value)}\r\n" for name, value in fields.items())


def one_line(text: str) -> str:
    """A value that cannot end its line, and so begin a header or a command of its own."""
    text = text.strip()
    return text if text.isprintable() else text.translate(_BREAKS)


def command(publication: Publication, reply: bytes = b"") -> bytes:
    """What makes a server publish. `reply`: the subject of its answer, with a space at the end."""
    subject, headers, body = publication
    size = len(headers)
    return b"HPUB %b %b%d %d\r\n%b%b\r\n" % (
        subject,
        reply,
        size,
        size + len(body),
        headers,
        body,
    )


class Replies(Answers[Answer]):
    """`subjects`: where the messages of the batch go."""

    def __init__(self, subjects: Sequence[str]) -> None:
        super().__init__(len(subjects))
        self.subjects = subjects

    def fail(self, error: LinkError, subject: str | None = None) -> None:
        """The answer to all that have none, on this subject (in lower case)."""
        for position, about in enumerate(self.subjects):
            if subject is None or about.lower() == subject:
                self.give(position, error)
