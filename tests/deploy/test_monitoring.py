"""The alert rules and the dashboard ask for what a running gateway shows, and Prometheus agrees."""

import asyncio
import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from schemas.sink_config import KINDS
from tests.api.rig import Api, eventually, serving
from tests.api.shop import opened
from tests.sinks.receiver import receiving

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "comporta.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "comporta.json"
# What a scrape adds to every series.
SCRAPED = {"job", "instance"}
LABELS = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"\b(up|comporta_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')

Series = Mapping[str, list[dict[str, str]]]


def rules() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def panels() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


QUERIES = [*rules(), *panels()]


async def scraped(api: Api) -> Series:
    """Series -> the label sets of its samples, of `/metrics` as it stands."""
    async with api.session.get(f"{api.url}/metrics", headers={"apikey": api.key or ""}) as got:
        assert got.status == 200
        text = await got.text()
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append(dict(sample.labels))
    return found


async def busy(api: Api, url: str, broken: str) -> Series:
    """What a gateway shows that has seen a little of everything."""
    shop = await opened(api, url=url)
    await api.post("/webhook/set/loja/broken", {"url": broken, "retry": []})
    await shop.order(1)
    assert (await shop.sends(id="delivery-1", transaction="HP00000001")).status == 200
    assert (await shop.sends(id="strange", transaction={})).body["quarantined"]
    path, shop.path = shop.path, shop.path[:-3]
    assert (await shop.sends()).status == 404
    shop.path = path
    polled = {
        "driver": "woocommerce",
        "instance": "loja",
        "credentials": {"secret": "s", "consumer_key": "ck_1", "consumer_secret": "cs_1"},
        "settings": {"api_base_url": broken, "poll_interval": 60},
    }
    made = (await api.post("/installations", polled)).data
    assert (await api.post(f"/installations/{made['id']}/poll")).status == 202

    lost = {"status": "error", "reason": "access was taken back"}
    await api.services.standing.move(made["id"], "api.unauthorized", lambda _: lost)

    async def seen() -> Series:
        api.services.gauges._fresh_until = 0.0
        found = await scraped(api)
        outcomes = {labels["outcome"] for labels in found["comporta_deliveries_total"]}
        enough = {"succeeded", "failed"} <= outcomes and "comporta_polls_total" in found
        return found if enough and "comporta_drift_total" in found else {}

    return await eventually(seen, patience=60.0)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Series:
    async def run() -> Series:
        folder = tmp_path_factory.mktemp("gateway")
        async with serving(folder) as api, receiving() as receiver, receiving() as gone:
            await gone.stop()
            return await busy(api, receiver.url, gone.url)

    return asyncio.run(run())


def complaints(expr: str, shown: Series) -> Iterator[str]:
    """What a query asks for that is not there."""
    used: set[str] = set()
    for name, inside in SELECTOR.findall(expr):
        if name == "up":  # Prometheus's own
            continue
        if name not in shown:
            yield f"there is no {name}"
            continue
        known = {label for labels in shown[name] for label in labels} | SCRAPED
        used |= known
        for label, operator, value in MATCHER.findall(inside):
            if label not in known:
                yield f"{name} has no label {label}"
            elif operator == "=" and all(s.get(label, value) != value for s in shown[name]):
                yield f"{name} never has {label}={value}"
    for names in LABELS.findall(expr):
        for label in filter(None, (word.strip() for word in names.split(","))):
            if label not in used:
                yield f"nothing has the label {label}"


@pytest.mark.parametrize(("where", "expr"), QUERIES, ids=[where for where, _ in QUERIES])
def test_what_is_asked_for_is_there(where: str, expr: str, shown: Series) -> None:
    assert list(complaints(expr, shown)) == [], where


def test_what_is_not_there_is_seen(shown: Series) -> None:
    assert [*complaints("rate(comporta_deliverys_total[5m])", shown)]
    assert [*complaints('comporta_circuits{status="open"}', shown)]
    assert [*complaints('comporta_circuits{state="ajar"}', shown)]
    assert [*complaints("sum by (kindness) (comporta_backlog)", shown)]


def test_everything_of_the_contract_is_shown(shown: Series) -> None:
    for name in (
        "comporta_ingress_requests_total",
        "comporta_events_total",
        "comporta_deliveries_total",
        "comporta_ingress_seconds_bucket",
        "comporta_store_commit_seconds_bucket",
        "comporta_delivery_attempt_seconds_bucket",
        "comporta_delivery_lag_seconds_bucket",
        "comporta_store_batch_size_bucket",
        "comporta_backlog",
        "comporta_oldest_waiting_seconds",
        "comporta_circuits",
        "comporta_websocket_connections",
    ):
        assert shown[name], name
    assert all(name.startswith("comporta_") for name in shown)
    assert {labels["kind"] for labels in shown["comporta_backlog"]} == set(KINDS)
    for name, samples in shown.items():
        assert not {"instance", "tenant", "sink_id"} & {k for s in samples for k in s}, name


def test_events_and_dead_letters_are_counted(shown: Series) -> None:
    outcomes = {s["outcome"] for s in shown["comporta_events_total"] if s["driver"] == "hotmart"}
    assert outcomes == {"stored", "duplicate"}
    assert {s["kind"] for s in shown["comporta_dead_letters_total"]} == set(KINDS)


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    assert found, "this test needs promtool: apt-get install prometheus"
    command = [found, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_rules_do_what_they_say() -> None:
    done = promtool("test", "rules", "comporta.rules.test.yml", folder=RULES.parent)
    assert done.returncode == 0, done.stdout + done.stderr

    tested = (RULES.parent / "comporta.rules.test.yml").read_text()
    assert len(set(re.findall(r"Comporta\w+", tested))) >= 9


def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    done = promtool("check", "rules", RULES.name, folder=RULES.parent)
    assert done.returncode == 0, done.stdout + done.stderr

    written = [
        {"record": f"panel:{number}", "expr": as_prometheus(expr)}
        for number, (_, expr) in enumerate(panels())
    ]
    groups: Any = {"groups": [{"name": "dashboard", "rules": written}]}
    (tmp_path / "panels.yml").write_text(yaml.safe_dump(groups))
    done = promtool("check", "rules", "--lint-fatal", "panels.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def as_prometheus(expr: str) -> str:
    """A dashboard's query with Grafana's variables filled in."""
    return expr.replace("$__rate_interval", "5m").replace("$job", "comporta")


def test_every_alert_says_what_to_do() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"]
