"""Structured logs: one line per fact, JSON for machines or columns for people, never a secret.

Only fields named here are logged; what is not on the list is left out rather than redacted, so that
a new field cannot leak by being forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections import deque
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import orjson
import structlog

LOGGABLE = frozenset(
    "event level timestamp logger error error_id reason status outcome driver kind sink sink_id "
    "instance tenant installation_id inbound_id event_id event_name delivery_id attempt attempts "
    "next_in duration_ms node url_host count freed seconds topic host port store version path "
    "method key_id key_name permission request_id worker pid backlog state name message exception "
    "job job_kind step scheme size client workers exit_code page items view what "
    "folder part kept table".split()
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 [redacted]"),
    (
        re.compile(
            r"\b(whsec_|cmp_|shpss_|shpat_|[sprae]k_(?:live|test)_|enc:v1:|gAAAA)[\w+/=-]{6,}"
        ),
        r"\1[redacted]",
    ),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]*\.?[\w-]*"), "[jwt]"),
    (re.compile(r"(?<=://)[^/\s?#]+(?=@)"), "[redacted]"),
    (re.compile(r"(/hooks/[\w-]+/)[\w-]+"), r"\1[redacted]"),
    (
        re.compile(r"(?i)\b(\w*(?:key|token|secret|password|signature))=[^&\s\"']+"),
        r"\1=[redacted]",
    ),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "[email]"),
    (re.compile(r"\+\d[\d ()-]{8,18}\d\b"), "[phone]"),
    (re.compile(r"\(\d{2}\) ?9?\d{4}[ -]?\d{4}\b"), "[phone]"),
    (re.compile(r"(?<!\w)\d{3}\.?\d{3}\.?\d{3}-?\d{2}(?!\w)"), "[cpf]"),
    (
        re.compile(r"(?<!\w)[A-Z0-9]{2}\.?[A-Z0-9]{3}\.?[A-Z0-9]{3}/[A-Z0-9]{4}-?\d{2}(?!\w)"),
        "[cnpj]",
    ),
    (re.compile(r"(?<!\w)(?:\d[ -]?){12,18}\d(?!\w)"), "[number]"),
)


def scrub(text: str) -> str:
    """Free text without what looks like a credential or a person."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


_FREE_TEXT = frozenset({"error", "reason", "message", "exception"})


def _allow(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if not entry.keys() <= LOGGABLE:
        entry = {name: value for name, value in entry.items() if name in LOGGABLE}
    for name in entry.keys() & _FREE_TEXT:
        if isinstance(entry[name], str):
            entry[name] = scrub(entry[name])
    return entry


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str).decode()


class _Stdout:
    """Standard output, which may be gone: no log line is worth a delivery. Inside a running loop
    the lines of one turn are written at its end, together.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque()  # of any thread

    def write(self, text: str) -> None:
        self._lines.append(text)

    def flush(self) -> None:
        if len(self._lines) > 1:
            return  # whoever wrote the first has asked for the rest
        try:
            asyncio.get_running_loop().call_soon(self._write)
        except RuntimeError:
            self._write()

    def _write(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        with suppress(OSError, ValueError):
            sys.stdout.write("".join(lines))
            sys.stdout.flush()


def _is_a_strangers(record: logging.LogRecord) -> bool:
    """Whether this is about a request that breaks HTTP. It was answered 400; logged, it would show
    what was sent, as often as somebody likes.
    """
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__module__ == "aiohttp.http_exceptions"


class _Libraries(logging.Handler):
    """What libraries log goes the way of our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        if _is_a_strangers(record):
            return
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        told = {"exception": trace} if trace else {}
        message = record.getMessage()
        get().log(record.levelno, "library", logger=record.name, message=message, **told)


def configure(level: str, style: str) -> None:
    """Send our log and the libraries' warnings to standard output, in one style."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
        if style == "console"
        else structlog.processors.JSONRenderer(serializer=_dumps)
    )
    numeric = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _allow,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(_Stdout()),  # type: ignore[arg-type]  # all it uses of a file
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(numeric, logging.WARNING), handlers=[_Libraries()], force=True)
    for chatty in ("aiormq", "nats"):  # what they warn of, outcomes and health say already
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


def get() -> structlog.typing.FilteringBoundLogger:
    """A logger."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
