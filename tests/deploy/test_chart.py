"""The Helm chart, rendered by Helm's own engine; each manifest held to Kubernetes' own schemas."""

import re
from typing import Any

import pytest
import yaml
from helm_python import HelmRenderError, HelmValuesError
from helm_python.chart import Chart, lint
from kubernetes_validate.utils import validate

from gateway.settings import Settings, variables
from gateway.version import VERSION
from tests.test_architecture import ROOT

FOLDER = ROOT / "deploy" / "helm" / "comporta"
OLDEST, NEWEST = "1.25", "1.34"
# Types of KEDA's and of the Prometheus operator, which Kubernetes has no schemas of.
FOREIGN = {"ScaledObject", "ServiceMonitor"}
CLUSTER: dict[str, Any] = {
    "replicas": 3,
    "store": {"kind": "postgres"},
    "secrets": {"existing": "ours"},
    "publicUrl": "https://events.example.com",
}
EVERYTHING = CLUSTER | {
    "keda": {"enabled": True, "prometheus": {"serverAddress": "http://prometheus:9090"}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"a": "b"},
        "hosts": ["events.example.com"],
        "tls": [{"secretName": "tls", "hosts": ["events.example.com"]}],
    },
    "settings": {"COMPORTA_RETENTION_DAYS": 14, "COMPORTA_METRICS_PUBLIC": True},
    "env": [{"name": "TZ", "value": "UTC"}],
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "shop"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "image": {"repository": "registry.example.com/comporta", "pullSecrets": [{"name": "pull"}]},
}
GIVEN = {
    "store": {"kind": "postgres", "postgres": {"url": "postgresql://u:p@db/comporta"}},
    "secrets": {"apiKey": "k", "secretKeys": "f"},
}


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    """The manifests by kind."""
    texts = Chart.load(FOLDER).render(values, name="shop", namespace="events")
    found = [
        manifest
        for name, text in texts.items()
        if name.endswith(".yaml")
        for manifest in yaml.safe_load_all(text)
        if manifest
    ]
    return {manifest["kind"]: manifest for manifest in found}


def pod(manifests: dict[str, Any]) -> Any:
    workload = manifests.get("Deployment") or manifests["StatefulSet"]
    return workload["spec"]["template"]["spec"]


def environment(manifests: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e["value"] for e in pod(manifests)["containers"][0]["env"]}


@pytest.mark.parametrize("values", [{}, CLUSTER, EVERYTHING, GIVEN], ids=str)
def test_what_is_rendered_is_kubernetes(values: dict[str, Any]) -> None:
    for manifest in rendered(values).values():
        if manifest["kind"] not in FOREIGN:
            for version in (OLDEST, NEWEST):
                validate(manifest, version, strict=True)
    report = lint(FOLDER, values, strict=True, kube_version=f"v{NEWEST}.0")
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


def test_by_default_it_is_one_process_with_a_volume() -> None:
    manifests = rendered({})
    assert set(manifests) == {"StatefulSet", "Service", "ServiceAccount"}
    spec = manifests["StatefulSet"]["spec"]
    assert spec["replicas"] == 1
    assert spec["volumeClaimTemplates"][0]["metadata"]["name"] == "data"
    assert pod(manifests)["enableServiceLinks"] is False


def test_several_replicas_share_postgresql() -> None:
    manifests = rendered(CLUSTER)
    assert manifests["Deployment"]["spec"]["replicas"] == 3
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert "StatefulSet" not in manifests
    container = pod(manifests)["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "ours"}}]
    assert environment(manifests)["COMPORTA_PUBLIC_URL"] == "https://events.example.com"


def test_who_scales_by_keda_leaves_the_number_to_it() -> None:
    manifests = rendered(EVERYTHING)
    assert "replicas" not in manifests["Deployment"]["spec"]
    scaled = manifests["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == manifests["Deployment"]["metadata"]["name"]
    assert [trigger["type"] for trigger in scaled["triggers"]] == ["cpu", "prometheus"]
    assert environment(manifests)["COMPORTA_METRICS_PUBLIC"] == "true"
    assert manifests["Ingress"]["spec"]["rules"][0]["host"] == "events.example.com"


def test_the_alert_rules_know_what_the_chart_has_scraped() -> None:
    [endpoint] = rendered(EVERYTHING)["ServiceMonitor"]["spec"]["endpoints"]
    [relabeling] = endpoint["relabelings"]
    assert relabeling["targetLabel"] == "job"
    rules = (ROOT / "deploy" / "prometheus" / "comporta.rules.yml").read_text()
    assert f'job="{relabeling["replacement"]}"' in rules


def test_the_pod_has_no_rights_and_time_to_stop() -> None:
    for values in ({}, CLUSTER):
        spec = pod(rendered(values))
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        assert spec["terminationGracePeriodSeconds"] >= 30
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_what_the_chart_sets_are_settings_of_ours() -> None:
    manifests = rendered(EVERYTHING | GIVEN)
    names = {*environment(manifests), *manifests["Secret"]["stringData"]} - {"TZ"}
    assert names <= set(variables())
    ours = {n: v for n, v in environment(manifests).items() if n != "TZ"}
    secrets = manifests["Secret"]["stringData"]
    assert Settings.load(ours | secrets).store_url == "postgresql://u:p@db/comporta"


def test_changed_settings_restart_the_pods() -> None:
    def told(values: dict[str, Any]) -> str:
        template = rendered(values)["Deployment"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["comporta/settings"])

    assert told(GIVEN) != told(GIVEN | {"settings": {"COMPORTA_LOG_LEVEL": "debug"}})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicas": 2}, "set store.kind=postgres for more than one replica"),
        ({"keda": {"enabled": True}}, "set store.kind=postgres to scale"),
        ({"settings": {"COMPORTA_WORKERS": 2}}, "COMPORTA_WORKERS"),
        ({"settings": {"COMPORTA_PORT": 1}}, "the chart sets it"),
        ({"settings": {"COMPORTA_API_KEY": "k"}}, "it is a secret"),
        ({"store": {"kind": "postgres"}}, "store.postgres.url: required"),
        (GIVEN | {"secrets": {"apiKey": "k"}}, "secrets.secretKeys: required"),
        (GIVEN | {"secrets": {"secretKeys": "k"}}, "secrets.apiKey: required"),
        ({"ingress": {"enabled": True}}, "ingress.hosts"),
        (CLUSTER | {"keda": {"enabled": True, "minReplicas": 11}}, "keda.minReplicas"),
        ({"preStopSeconds": 20}, "terminationGracePeriodSeconds"),
    ],
)
def test_what_cannot_work_is_refused_in_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmRenderError, match=words):
        rendered(values)


@pytest.mark.parametrize(
    "values", [{"replica": 3}, {"replicas": "3"}, {"store": {"kind": "mysql"}}, {"image": {"x": 1}}]
)
def test_a_value_it_does_not_know_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        Chart.load(FOLDER).validate_schema(values)


def test_its_version_is_the_programs() -> None:
    told = yaml.safe_load((FOLDER / "Chart.yaml").read_text())
    assert told["version"] == told["appVersion"] == VERSION


def test_the_guide_knows_every_alert() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "comporta.rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    guide = (ROOT / "deploy" / "operating.md").read_text()
    assert set(re.findall(r"`(Comporta\w+)`", guide)) == alerts
