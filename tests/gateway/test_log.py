"""The log: one style, only fields that are listed, nothing secret in free text."""

import ast
import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from gateway import log
from tests.test_architecture import ROOT

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def logged_fields() -> Iterator[tuple[str, str]]:
    """Every keyword of a call to a logger, with where it stands."""
    for folder in ("gateway", "sinks"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            spread = dict(_spelled_out(tree))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and _is_logger(node.func):
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    for keyword in node.keywords:
                        unknown = ("**" + ast.unparse(keyword.value),)
                        known = spread.get(ast.unparse(keyword.value), unknown)
                        names = known if keyword.arg is None else (keyword.arg,)
                        yield from ((place, name) for name in names)


def _spelled_out(tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Dictionaries that are written out under a name, with their keys: what `**name` stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            keys = tuple(k.value for k in node.value.keys if isinstance(k, ast.Constant))
            if len(keys) == len(node.value.keys):
                yield ast.unparse(node.targets[0]), tuple(map(str, keys))


def _is_logger(called: ast.expr) -> bool:
    """`log.get().warning`, and the same kept under a name with `log` in it."""
    if not isinstance(called, ast.Attribute) or called.attr not in LEVELS:
        return False
    return "log" in ast.unparse(called.value)


def test_every_field_that_is_logged_is_on_the_list() -> None:
    fields = list(logged_fields())

    assert len(fields) > 50  # the search finds what is there
    assert [f"{place} {name}" for place, name in fields if name not in log.LOGGABLE] == []


def test_a_line_is_json_with_a_time_and_a_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    log.get().info("gateway.started", host="127.0.0.1", port=8080)

    (line,) = lines(capsys)
    assert line.pop("timestamp")
    assert line == {"event": "gateway.started", "level": "info", "host": "127.0.0.1", "port": 8080}


def test_what_is_not_on_the_list_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    log.get().info("x", password="hunter2", customer={"name": "Ana"}, kind="webhook")

    (line,) = lines(capsys)
    assert set(line) == {"event", "level", "timestamp", "kind"}


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("warning", "json")
    log.get().info("quiet")
    log.get().warning("loud")

    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_people_get_columns(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "console")
    log.get().info("gateway.started", port=8080)

    out = capsys.readouterr().out
    assert "gateway.started" in out
    assert "port=8080" in out


def test_a_trace_is_logged_and_scrubbed(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    try:
        int("no login for ana@example.com")
    except ValueError:
        log.get().exception("job.failed", job="j1")

    (line,) = lines(capsys)
    assert "no login for [email]" in str(line["exception"])
    assert "test_log.py" in str(line["exception"])


def test_libraries_log_in_the_same_style(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    logging.getLogger("aiohttp.server").info("not of interest")
    try:
        int("postgres://user:hunter2@db/x")
    except ValueError:
        logging.getLogger("asyncpg").exception("lost %s", "a connection")

    (line,) = lines(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("library", "asyncpg", "error")
    assert line["message"] == "lost a connection"
    assert "'postgres://[redacted]@db/x'" in str(line["exception"])


def test_a_request_that_breaks_http_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    from aiohttp.http_exceptions import BadHttpMessage

    log.configure("info", "json")
    for error in (BadHttpMessage("apikey: cmp_secret\\0"), ValueError("ours")):
        try:
            raise error
        except (BadHttpMessage, ValueError):
            logging.getLogger("aiohttp.server").exception("Error handling request")

    (line,) = lines(capsys)
    assert "ours" in str(line["exception"])


def test_a_closed_output_costs_nobody_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    log.configure("info", "json")
    monkeypatch.setattr(sys, "stdout", Gone())
    log.get().warning("nobody hears this")
    sys.stdout.close()
    log.get().warning("nor this")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abcdefgh.ijkl-mnop", "Authorization: Bearer [redacted]"),
        ("basic dXNlcjpwYXNzd29yZA==", "basic [redacted]"),
        ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret whsec_[redacted]"),
        ("key cmp_0123456789abcdefghij", "key cmp_[redacted]"),
        ("sealed enc:v1:gAAAAABl", "sealed enc:v1:[redacted]"),
        ("amqp://user:p@ss@mq:5672/v", "amqp://[redacted]@mq:5672/v"),
        ("nats://token@nats:4222 refused", "nats://[redacted]@nats:4222 refused"),
        ("POST /hooks/kiwify/Ab3_xY-9 failed", "POST /hooks/kiwify/[redacted] failed"),
        ("https://api.example/x?api_key=abc&b=1", "https://api.example/x?api_key=[redacted]&b=1"),
        ("GET /ws?apikey=abc", "GET /ws?apikey=[redacted]"),
        ("to ana.silva+x@example.com.br", "to [email]"),
        ("cpf 529.982.247-25", "cpf [cpf]"),
        ("cpf 52998224725", "cpf [cpf]"),
        ("cnpj 12.ABC.345/01DE-35", "cnpj [cnpj]"),
        ("card 4111 1111 1111 1111", "card [number]"),
        ("phone +5511987654321", "phone [phone]"),
        ("phone +55 (11) 98765-4321", "phone [phone]"),
        ("phone (11) 98765-4321", "phone [phone]"),
        ("phone (11) 3333-4444", "phone [phone]"),
        ("key sk_test_0123456789", "key sk_test_[redacted]"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "token [jwt]"),
        ("sealed gAAAAABl0123456789", "sealed gAAAA[redacted]"),
        # What an operator needs stays.
        ("HTTP 503 after 20.1 s", "HTTP 503 after 20.1 s"),
        ("connect: 10.0.0.7:5432 refused", "connect: 10.0.0.7:5432 refused"),
        ("event 01hm6z00000000000000aaaaaa", "event 01hm6z00000000000000aaaaaa"),
        ("https://crm.example/in answered 404", "https://crm.example/in answered 404"),
    ],
)
def test_free_text_names_no_secret_and_nobody(text: str, kept: str) -> None:
    assert log.scrub(text) == kept


def test_long_text_is_scrubbed_in_no_time() -> None:
    for text in ("://" + "a:" * 20_000, "1-" * 20_000, "a@" * 20_000, "bearer " * 5000):
        log.scrub(text)  # the timeout of the test is the assertion
