"""The body of a delivery as values, by what it is rather than by what its label says."""

from __future__ import annotations

from typing import Any

from drivers.forms import parse_form
from schemas import codec
from schemas.errors import UnparsableError
from schemas.request import Inbound

JSON_TYPES = ("application/json", "text/json", "application/x-json", "text/plain", "")
FORM_TYPE = "application/x-www-form-urlencoded"


def is_known_type(content_type: str) -> bool:
    """Whether a delivery of this media type can be read at all."""
    return content_type in JSON_TYPES or content_type == FORM_TYPE or content_type.endswith("+json")


def parse_body(inbound: Inbound) -> Any:
    """JSON or form body as values, numbers exact. Raises UnparsableError.

    Several providers label JSON as a form or not at all, so a body that starts like JSON is read as
    JSON.
    """
    start = inbound.body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if not start:
        raise UnparsableError("the body is empty")
    if start in b"{[" or inbound.content_type != FORM_TYPE:
        return codec.loads(inbound.body)
    return parse_form(inbound.body)
