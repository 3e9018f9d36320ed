"""What an HTTP answer, or the lack of one, means for a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from schemas.delivery import Delivered, Exchange, Outcome, Rejected, Retry
from sinks.base import HttpAnswer, HttpError

LONGEST_HOLD = 86_400.0
KEPT_BYTES = 4096
_UNKEPT = frozenset({"set-cookie", "set-cookie2"})  # the receiver's secrets, of no use to us


def recorded(request_headers: dict[str, str], answer: HttpAnswer | None) -> Exchange:
    """The exchange as it may be kept. `request_headers` come redacted."""
    if answer is None:
        return Exchange(request_headers=request_headers)
    return Exchange(
        request_headers=request_headers,
        status=answer.status,
        response_headers=_kept(answer.headers),
        response_body=answer.body[:KEPT_BYTES],
    )


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    kept = dict(headers)
    for name in _UNKEPT:
        kept.pop(name, None)
    return kept


def of_answer(answer: HttpAnswer, exchange: Exchange, now: int) -> Outcome:
    """2xx has it, 410 wants nothing any more, 508 has had it before; everything else may do better
    later.
    """
    status = answer.status
    if 200 <= status < 300:
        return Delivered(exchange=exchange)
    if status == 410:
        return Rejected(reason="HTTP 410: gone", disable=True, exchange=exchange)
    if status == 508:
        return Rejected(reason="HTTP 508: the event went round in a loop", exchange=exchange)
    after = None
    if status in {429, 503}:
        moment = datetime.fromtimestamp(now / 1e6, UTC)
        after = retry_after(answer.headers.get("retry-after"), moment)
    note = " (redirects are not followed)" if 300 <= status < 400 else ""
    return Retry(reason=f"HTTP {status}{note}", after=after, exchange=exchange)


def of_failure(error: HttpError, exchange: Exchange) -> Outcome:
    """No answer came: later, and at no cost when the trouble is ours."""
    kind = "ssrf_blocked" if error.kind == "blocked" else error.kind
    return Retry(reason=f"{kind}: {error.message}", counts=not error.ours, exchange=exchange)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, at most a day; None for nonsense and the past.

    A number or an HTTP date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_HOLD) or None
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(seconds, LONGEST_HOLD) if seconds > 0 else None
