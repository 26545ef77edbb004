"""The chart over a matrix of values: lint, render, and every object against the API schemas of two Kubernetes versions."""

from __future__ import annotations

import json
import re

import click
import pytest
import yaml

from littlebig_cli.main import littlebig
from tests.unit.chart.custom_resources import SCHEMAS
from tests.unit.chart.helm import CHART, ROOT, Manifest, find, helm, pod_of, render, server_of
from tests.unit.chart.matrix import CALIBRATION, CASES, CPU, MONITORED

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: 'littlebig[test]'")
jsonschema = pytest.importorskip("jsonschema")

# The oldest that the chart admits, and the newest whose schemas are there.
VERSIONS = ("1.28.0", kubernetes_validate.latest_version())


def validate(manifest: Manifest, version: str) -> None:
    """Unknown fields are errors. Kubernetes itself knows nothing of custom resources: see custom_resources.py."""
    own = SCHEMAS.get(f"{manifest['apiVersion']}/{manifest['kind']}")
    if own:
        jsonschema.validate(manifest, own)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_what_both_versions_of_kubernetes_take(case):
    manifests = render(CASES[case])
    for version in VERSIONS:
        for manifest in manifests:
            validate(manifest, version)
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(set(names)) == len(names)
    assert all(one["metadata"]["namespace"] == "vision" for one in manifests)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["default", "everything", "cpu-volume-none-inside", "tensorrt-image-keda-gateway"])
def test_helm_lint_finds_nothing_and_no_deprecated_api(case, version):
    result = helm("lint", "--strict", "--kube-version", version, str(CHART), values=CASES[case])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "WARNING" not in result.stdout
    assert "1 chart(s) linted, 0 chart(s) failed" in result.stdout + result.stderr


def test_a_wrong_field_would_be_found():
    manifest = render({})[0]
    manifest["spec"]["podSelectors"] = {}
    with pytest.raises(Exception, match="podSelectors"):
        validate(manifest, VERSIONS[0])


def test_rules_and_dashboard_are_the_files_themselves():
    manifests = render(MONITORED)
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    assert find(manifests, "PrometheusRule")["spec"] == rules
    dashboard = find(manifests, "ConfigMap", "littlebig-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["littlebig.json"]) == json.loads((CHART / "files/dashboard.json").read_text())


def test_the_calibration_arrives_as_it_is_and_a_new_one_replaces_the_pods():
    manifests = render({"calibration": {"json": CALIBRATION}})
    assert find(manifests, "ConfigMap")["data"]["calibration.json"] == CALIBRATION
    other = render({"calibration": {"json": CALIBRATION.replace("0.4", "0.5")}})

    def annotation(objects: list[Manifest]) -> str:
        return find(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["littlebig/calibration"]

    assert annotation(manifests) != annotation(other)


def test_a_pod_without_gpu_asks_for_none_and_builds_nothing():
    pod = pod_of(render(CPU))
    assert [one["name"] for one in pod["initContainers"]] == ["repository", "preflight"]
    assert "nvidia" not in json.dumps(pod)
    assert "cache" not in [one["name"] for one in pod["volumes"]]


def test_a_pod_with_gpu_fetches_checks_and_builds_before_it_serves():
    pod = pod_of(render({"calibration": {"json": CALIBRATION}, "gpu": {"count": 2}}))
    assert [one["name"] for one in pod["initContainers"]] == ["repository", "calibration", "preflight", "engines"]
    for container in (pod["initContainers"][-1], pod["containers"][0]):
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
        assert container["resources"]["requests"]["nvidia.com/gpu"] == "2"
    for container in pod["initContainers"][:-1]:
        assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_requests_and_limits_do_not_mix():
    resources = server_of(render({}))["resources"]
    assert sorted(resources["limits"]) == ["memory", "nvidia.com/gpu"]
    assert sorted(resources["requests"]) == ["cpu", "memory", "nvidia.com/gpu"]


def test_a_killed_gate_is_unready_in_ten_seconds_and_restarted_in_thirty():
    server = server_of(render({}))
    ready, live = server["readinessProbe"], server["livenessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"] < 10
    kubelets_own = 2  # after a grace period that preStop has used up
    restarted = live["periodSeconds"] * live["failureThreshold"] + live["timeoutSeconds"]
    assert restarted + live["terminationGracePeriodSeconds"] + kubelets_own < 30


@pytest.mark.parametrize("case", ["everything", "cpu-volume-none-inside", "tensorrt-no-cache-volume-hpa-tls-ingress"])
def test_every_command_and_option_of_ours_exists(case):
    pod = pod_of(render(CASES[case]))
    calls = [[*one["command"], *one.get("args", [])] for one in [*pod["initContainers"], *pod["containers"]]]
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    calls += [pod["containers"][0][probe]["exec"]["command"] for probe in probes]
    ours = [words[1:] for words in calls if words[0] == "littlebig"]
    assert len(ours) >= 5
    for name, *words in ours:
        command = littlebig.get_command(click.Context(littlebig), name)
        command.make_context(name, words)  # parses, and raises a UsageError for what it does not know


def test_the_notes_say_what_to_do_next():
    result = helm("install", "littlebig", str(CHART), "--dry-run=client", values={"calibration": {"required": False}})
    assert result.returncode == 0, result.stderr
    notes = result.stdout.partition("NOTES:\n")[2]
    assert "kubectl --namespace default rollout status deployment/littlebig --timeout 1h" in notes
    assert "WARNING: calibration.required is off." in notes


def test_probes_classify_an_image_and_end_before_the_kubelet_ends_them():
    server = server_of(render({"probes": {"big": "optional"}}))
    for name, state in (("startupProbe", "startup"), ("readinessProbe", "ready"), ("livenessProbe", "live")):
        probe = server[name]
        assert probe["exec"]["command"] == [
            *("littlebig", "probe", state, "--url=localhost:8001"),
            f"--timeout={probe['timeoutSeconds'] - 2}",
            "--big=optional",
        ]


def test_probes_of_a_server_with_tls_check_its_certificate():
    server = server_of(render({"tls": {"enabled": True, "secretName": "certificate"}}))
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        words = server[name]["exec"]["command"]
        assert words[-2:] == ["--tls-ca=/tls/ca.crt", "--tls-name=littlebig-grpc.vision.svc"]


def test_the_startup_probe_waits_longer_than_the_server_itself():
    for seconds in (1, 119, 300):
        server = server_of(render({"server": {"startupTimeoutSeconds": seconds}}))
        probe = server["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] > seconds
        assert f"--startup-timeout={seconds}" in server["args"]


def test_the_grace_period_covers_the_pause_and_tritons_own_time():
    values = {"shutdown": {"preStopSeconds": 40}, "server": {"exitTimeoutSeconds": 50}}
    manifests = render(values)
    server = server_of(manifests)
    assert pod_of(manifests)["terminationGracePeriodSeconds"] == 100
    assert server["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "40"]
    assert "--exit-timeout=50" in server["args"]
    given = render({**values, "shutdown": {"preStopSeconds": 40, "gracePeriodSeconds": 200}})
    assert pod_of(given)["terminationGracePeriodSeconds"] == 200


def test_an_update_never_takes_a_pod_away_first():
    assert find(render({}), "Deployment")["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }


def test_only_an_autoscaler_or_the_values_decide_the_number_of_pods():
    assert find(render({"replicas": 5}), "Deployment")["spec"]["replicas"] == 5
    for kind in ("hpa", "keda"):
        assert "replicas" not in find(render({"autoscaling": {"kind": kind}}), "Deployment")["spec"]


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_each_stage_is_a_metric_of_its_own(kind):
    manifests = render({"autoscaling": {"kind": kind, "pending": {"little": 3, "big": 5, "gate": 0}}})
    if kind == "hpa":
        metrics = find(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"]
        found = {
            one["pods"]["metric"]["selector"]["matchLabels"]["model"]: one["pods"]["target"]["averageValue"]
            for one in metrics
        }
    else:
        triggers = find(manifests, "ScaledObject")["spec"]["triggers"]
        found = {one["name"]: one["metadata"]["threshold"] for one in triggers}
        assert all(f'model="{one["name"]}"' in one["metadata"]["query"] for one in triggers)
    assert found == {"little": "3", "big": "5"}


def test_the_headless_service_answers_with_pods_and_the_others_with_one_address():
    manifests = render({})
    services = {one["metadata"]["name"]: one["spec"] for one in manifests if one["kind"] == "Service"}
    assert sorted(services) == ["littlebig-grpc", "littlebig-headless", "littlebig-http", "littlebig-metrics"]
    assert services["littlebig-headless"]["clusterIP"] == "None"
    assert "clusterIP" not in services["littlebig-grpc"]
    selected = find(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    ports = {port["name"] for port in server_of(manifests)["ports"]}
    for service in services.values():
        assert service["selector"].items() <= selected
        assert {port["targetPort"] for port in service["ports"]} <= ports


def test_with_tls_nothing_is_offered_in_plain_text_but_metrics():
    manifests = render({"tls": {"enabled": True, "secretName": "certificate"}})
    names = [one["metadata"]["name"] for one in manifests if one["kind"] == "Service"]
    assert "littlebig-http" not in names
    clients, monitoring = find(manifests, "NetworkPolicy")["spec"]["ingress"]
    assert clients["ports"] == [{"port": "grpc"}]
    assert monitoring["ports"] == [{"port": "metrics"}]


def test_the_values_are_all_in_the_schema_and_the_chart_has_the_packages_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) == {*values, "global"}


def test_every_value_has_a_line_that_says_what_it_is():
    # Directly above itself, or above a value that it is part of.
    undocumented, documented, before = [], {-1: False}, ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        key = re.match(r"( *)([A-Za-z][\w./]*):( |$)", line)
        if key:
            depth = len(key[1])
            outer = documented[max(level for level in documented if level < depth)]
            documented = {level: has for level, has in documented.items() if level < depth}
            documented[depth] = outer or before.lstrip().startswith("#")
            if key[3] and not documented[depth]:
                undocumented.append(line)
        before = line
    assert undocumented == []
