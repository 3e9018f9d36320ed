"""Settings: what each variable does, and what is refused, by the variable's name."""

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import ALIASES, Settings, SettingsError, variables
from tests.test_architecture import ROOT

FERNET = "EcC1cGnMHTdXfVqWF7pGfb-8eRCTbYeCvWVEqmmhBlo="
PG = {"COMPORTA_STORE": "postgresql://u:p@db/comporta", "COMPORTA_SECRET_KEYS": FERNET}

# The contract's table: variable, text, field, what it becomes.
ROWS: list[tuple[str, str, str, Any]] = [
    ("COMPORTA_HOST", "0.0.0.0", "host", "0.0.0.0"),
    ("COMPORTA_PORT", "9000", "port", 9000),
    ("COMPORTA_PUBLIC_URL", "https://g.example/in/", "public_url", "https://g.example/in"),
    ("COMPORTA_DATA_DIR", "/var/lib/comporta", "data_dir", Path("/var/lib/comporta")),
    ("COMPORTA_ALLOW_TARGETS", "10.0.0.0/8, crm.lan", "allow_targets", ("10.0.0.0/8", "crm.lan")),
    ("COMPORTA_REQUIRE_HTTPS", "false", "require_https", False),
    ("COMPORTA_MAX_BODY", "4096", "max_body", 4096),
    ("COMPORTA_INGEST_RATE", "2.5", "ingest_rate", 2.5),
    ("COMPORTA_MAX_BACKLOG", "10", "max_backlog", 10),
    ("COMPORTA_RETENTION_DAYS", "0.5", "retention_days", 0.5),
    ("COMPORTA_RETRY_SCHEDULE", "1, 2,3.5", "retry_schedule", (1, 2, 3.5)),
    ("COMPORTA_DELIVERY_TIMEOUT", "7", "delivery_timeout", 7),
    ("COMPORTA_LEASE_SECONDS", "12", "lease_seconds", 12),
    ("COMPORTA_CRASH_AT", "after_commit:100", "crash_at", "after_commit:100"),
    ("COMPORTA_AUTH", "off", "auth", False),
    ("COMPORTA_AUTH", "on", "auth", True),
    ("COMPORTA_TRUSTED_PROXIES", "10.0.0.0/8", "trusted_proxies", ("10.0.0.0/8",)),
    ("COMPORTA_CORS_ORIGINS", "https://a, https://b", "cors_origins", ("https://a", "https://b")),
    ("COMPORTA_CA_FILE", "/etc/ca.pem", "ca_file", "/etc/ca.pem"),
    ("COMPORTA_WEBSOCKET_MAX_CONNECTIONS", "5", "websocket_max_connections", 5),
    ("COMPORTA_LOG_LEVEL", "DEBUG", "log_level", "debug"),
    ("COMPORTA_LOG_FORMAT", "console", "log_format", "console"),
    ("COMPORTA_OTLP_ENDPOINT", "http://c:4318", "otlp_endpoint", "http://c:4318"),
    ("COMPORTA_METRICS_PUBLIC", "true", "metrics_public", True),
    ("SQS_REGION", "sa-east-1", "sqs_region", "sa-east-1"),
    ("SQS_ACCESS_KEY_ID", "AKIA", "sqs_access_key_id", "AKIA"),
    ("SQS_ACCOUNT_ID", "123", "sqs_account_id", "123"),
    ("SQS_BASE_URL", "http://sqs:9324", "sqs_base_url", "http://sqs:9324"),
    ("PUSHER_GLOBAL_APP_ID", "1", "pusher_app_id", "1"),
    ("PUSHER_GLOBAL_KEY", "k", "pusher_key", "k"),
    ("PUSHER_GLOBAL_CLUSTER", "sa1", "pusher_cluster", "sa1"),
    ("PUSHER_HOST", "soketi:6001", "pusher_host", "soketi:6001"),
]
SECRETS = [
    ("COMPORTA_API_KEY", "api_key"),
    ("AUTHENTICATION_API_KEY", "api_key"),
    ("COMPORTA_SECRET_KEYS", "secret_keys"),
    ("RABBITMQ_URI", "rabbitmq_uri"),
    ("NATS_URL", "nats_url"),
    ("NATS_URI", "nats_url"),
    ("SQS_SECRET_ACCESS_KEY", "sqs_secret_access_key"),
    ("PUSHER_GLOBAL_SECRET", "pusher_secret"),
]
BAD = [
    ({"COMPORTA_PROT": "80"}, "unknown setting COMPORTA_PROT"),
    ({"COMPORTA_PORT": "eighty"}, "COMPORTA_PORT: "),
    ({"COMPORTA_PORT": "65536"}, "COMPORTA_PORT: "),
    ({"COMPORTA_PUBLIC_URL": "events.example.com"}, "COMPORTA_PUBLIC_URL: "),
    ({"COMPORTA_PUBLIC_URL": "https://a.example/?b=c"}, "COMPORTA_PUBLIC_URL: "),
    ({"COMPORTA_PUBLIC_URL": "https://u:p@a.example"}, "COMPORTA_PUBLIC_URL: "),
    ({"COMPORTA_STORE": "mysql://db/x"}, "COMPORTA_STORE "),
    ({"COMPORTA_STORE": "sqlite:///"}, "COMPORTA_STORE "),
    ({"COMPORTA_STORE": PG["COMPORTA_STORE"]}, "COMPORTA_SECRET_KEYS is required"),
    ({"COMPORTA_WORKERS": "2"}, "COMPORTA_WORKERS above 1 needs a PostgreSQL"),
    ({"COMPORTA_WORKERS": "0"} | PG, "COMPORTA_WORKERS: "),
    ({"COMPORTA_ALLOW_TARGETS": "10.0.0.0/99"}, "COMPORTA_ALLOW_TARGETS: "),
    ({"COMPORTA_TRUSTED_PROXIES": "proxy"}, "COMPORTA_TRUSTED_PROXIES: "),
    ({"COMPORTA_MAX_BODY": "12"}, "COMPORTA_MAX_BODY: "),
    ({"COMPORTA_INGEST_RATE": "-1"}, "COMPORTA_INGEST_RATE: "),
    ({"COMPORTA_INGEST_RATE": "nan"}, "COMPORTA_INGEST_RATE: "),
    ({"COMPORTA_INGEST_RATE": "1e-300"}, "COMPORTA_INGEST_RATE: "),
    ({"COMPORTA_MAX_BACKLOG": "0"}, "COMPORTA_MAX_BACKLOG: "),
    ({"COMPORTA_RETENTION_DAYS": "inf"}, "COMPORTA_RETENTION_DAYS: "),
    ({"COMPORTA_RETRY_SCHEDULE": "5,soon"}, "COMPORTA_RETRY_SCHEDULE: "),
    ({"COMPORTA_RETRY_SCHEDULE": "5,inf"}, "COMPORTA_RETRY_SCHEDULE: "),
    ({"COMPORTA_RETRY_SCHEDULE": "-5"}, "COMPORTA_RETRY_SCHEDULE: "),
    ({"COMPORTA_DELIVERY_TIMEOUT": "0"}, "COMPORTA_DELIVERY_TIMEOUT: "),
    ({"COMPORTA_LEASE_SECONDS": "0.1"}, "COMPORTA_LEASE_SECONDS: "),
    ({"COMPORTA_CRASH_AT": "somewhere:often"}, "COMPORTA_CRASH_AT: "),
    ({"COMPORTA_AUTH": "of"}, "COMPORTA_AUTH: "),
    ({"COMPORTA_AUTH": "off", "COMPORTA_HOST": "0.0.0.0"}, "COMPORTA_AUTH=off is only for"),
    ({"COMPORTA_TLS_CERT": "/cert.pem"}, "COMPORTA_TLS_CERT and COMPORTA_TLS_KEY go together"),
    ({"COMPORTA_LOG_LEVEL": "loud"}, "COMPORTA_LOG_LEVEL: "),
    ({"COMPORTA_LOG_FORMAT": "xml"}, "COMPORTA_LOG_FORMAT: "),
    ({"COMPORTA_WEBSOCKET_MAX_CONNECTIONS": "0"}, "COMPORTA_WEBSOCKET_MAX_CONNECTIONS: "),
]


@pytest.mark.parametrize(("variable", "text", "field", "value"), ROWS)
def test_each_variable_sets_its_field(variable: str, text: str, field: str, value: Any) -> None:
    settings = Settings.load({variable: text})

    assert getattr(settings, field) == value
    # ... and not by being its default.
    assert value in {True, False} or getattr(Settings.load({}), field) != value


@pytest.mark.parametrize(("variable", "field"), SECRETS)
def test_secrets_are_read_and_never_shown(variable: str, field: str) -> None:
    settings = Settings.load({variable: "a-secret-value"})

    assert getattr(settings, field).get_secret_value() == "a-secret-value"
    assert "a-secret-value" not in repr(settings)
    assert "a-secret-value" not in settings.model_dump_json()


@pytest.mark.parametrize(("environ", "message"), BAD)
def test_what_makes_no_sense_is_refused_by_name(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_refusal_does_not_repeat_a_secret() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({"COMPORTA_STORE": "mysql://user:hunter2@db/x"})

    assert "hunter2" not in str(caught.value)


def test_nothing_has_to_be_set() -> None:
    settings = Settings.load({"PATH": "/bin", "HOME": "/root", "COMPORTER": "another program's"})

    assert settings.base_url == "http://127.0.0.1:8080"
    assert settings.store_url == "sqlite:///data/comporta.db"
    assert settings.sqlite_path == Path("data/comporta.db")
    assert settings.is_loopback
    assert not settings.is_postgres
    assert settings.retry_schedule == (5, 300, 1800, 7200, 18000, 36000, 36000)


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert Settings.load({"COMPORTA_PORT": "", "NATS_URL": ""}) == Settings.load({})


def test_a_documented_name_wins_over_its_alias() -> None:
    given = {"AUTHENTICATION_API_KEY": "old", "COMPORTA_API_KEY": "new", "NATS_URI": "old"}
    settings = Settings.load(given | {"NATS_URL": "new"})

    assert settings.api_key.get_secret_value() == "new"
    assert settings.nats_url.get_secret_value() == "new"


def test_several_processes_share_postgres() -> None:
    settings = Settings.load({"COMPORTA_WORKERS": "4"} | PG)

    assert settings.is_postgres
    assert settings.workers == 4


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"COMPORTA_HOST": "::1", "COMPORTA_PORT": "81"}, "http://[::1]:81"),
        ({"COMPORTA_TLS_CERT": "c", "COMPORTA_TLS_KEY": "k"}, "https://127.0.0.1:8080"),
        ({"COMPORTA_PUBLIC_URL": "https://g.example/"}, "https://g.example"),
    ],
)
def test_the_base_url_is_what_links_use(environ: dict[str, str], url: str) -> None:
    assert Settings.load(environ).base_url == url


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("gate.example", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(host: str, loopback: bool) -> None:
    assert Settings.load({"COMPORTA_HOST": host}).is_loopback is loopback


EXAMPLE = ROOT / "deploy" / "comporta.example.env"
SETTING = re.compile(r"^#([A-Z_]+)=(.*)$")


def listed() -> list[tuple[str, str, str]]:
    """The settings of the example file: variable, value, the comment before it."""
    found, said = [], ""
    for line in EXAMPLE.read_text().splitlines():
        setting = SETTING.match(line)
        if setting:
            found.append((setting[1], setting[2], said))
        said = line.removeprefix("# ") if line.startswith("# ") else ""
    return found


def test_the_example_file_lists_every_setting_once_with_its_meaning() -> None:
    names = [variable for variable, _, _ in listed()]

    assert sorted(names) == sorted(variables().keys() - ALIASES.keys())
    assert [variable for variable, _, said in listed() if len(said) < 8] == []


def test_the_example_file_shows_every_default() -> None:
    shown = {variable: value for variable, value, _ in listed()}
    defaults = Settings.load({})

    assert Settings.load(shown) == defaults
    # What is shown empty is empty by default, and not a default that an empty value leaves alone.
    for variable in (name for name, value in shown.items() if not value):
        value = getattr(defaults, variables()[variable])
        assert (value.get_secret_value() if hasattr(value, "get_secret_value") else value) in {
            "",
            (),
        }


def test_the_example_file_is_comments_only() -> None:
    lines = EXAMPLE.read_text().splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == []
    assert max(map(len, lines)) <= 104
