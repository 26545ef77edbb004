"""The chart is rendered over a matrix of values; every object matches the API schemas of two Kubernetes versions."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator

import click
import pytest
import yaml

from littlebig_cli.main import littlebig
from littlebig_export.tensorrt_provider import CACHE
from tests.unit.chart.custom_resources import SCHEMAS
from tests.unit.chart.helm import CHART, ROOT, Manifest, find, helm, merged, pod_of, render, server_of
from tests.unit.chart.matrix import CALIBRATION, CASES, CPU, MONITORED, OUTSIDE, PAIRWISE

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: 'littlebig[test]'")
jsonschema = pytest.importorskip("jsonschema")

# The oldest that the chart permits, and the newest with known schemas.
VERSIONS = ("1.28.0", kubernetes_validate.latest_version())


def validate(manifest: Manifest, version: str) -> None:
    """Check an object, unknown fields included. Custom resources have their schemas in custom_resources.py."""
    schema = SCHEMAS.get(f"{manifest['apiVersion']}/{manifest['kind']}")
    if schema:
        jsonschema.validate(manifest, schema)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


def with_the_rest_slow(fast: list[str]) -> list[object]:
    return [case if case in fast else pytest.param(case, marks=pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize("case", with_the_rest_slow(PAIRWISE))
def test_every_object_is_valid_in_the_oldest_and_newest_kubernetes(case):
    manifests = render(CASES[case])
    for version in VERSIONS:
        for manifest in manifests:
            validate(manifest, version)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(set(names)) == len(names)
    assert all(manifest["metadata"]["namespace"] == "vision" for manifest in manifests)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["default", "everything", "cpu-volume-none-inside", "tensorrt-image-keda-gateway"])
def test_helm_lint_finds_no_mistake_and_no_deprecated_api(case, version):
    result = helm("lint", "--strict", "--kube-version", version, str(CHART), values=CASES[case])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "WARNING" not in result.stdout
    assert "1 chart(s) linted, 0 chart(s) failed" in result.stdout + result.stderr


def test_an_unknown_field_is_found():
    manifest = render({})[0]
    manifest["spec"]["podSelectors"] = {}
    with pytest.raises(Exception, match="podSelectors"):
        validate(manifest, VERSIONS[0])


def test_the_dashboard_is_rendered_unchanged_and_the_rules_at_a_scrape_a_minute_too():
    manifests = render(merged(MONITORED, {"monitoring": {"podMonitor": {"interval": "1m"}}}))
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    assert find(manifests, "PrometheusRule")["spec"] == rules
    dashboard = find(manifests, "ConfigMap", "littlebig-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["littlebig.json"]) == json.loads((CHART / "files/dashboard.json").read_text())


def test_the_rules_windows_follow_from_the_interval_and_their_objectives_from_values():
    objectives = {"errorBudget": 0.01, "latencySeconds": 0.25, "runbookUrl": "https://wiki.example/cascade"}
    rendered = find(render(merged(MONITORED, {"monitoring": {"prometheusRule": objectives}})), "PrometheusRule")["spec"]
    text = (CHART / "files" / "rules.yaml").read_text()
    # Four scrapes at 15 s, and a minute more; tests/unit/rules runs these.
    text = text.replace("240s", "60s").replace("300s", "120s")
    text = text.replace("vector(0.001)", "vector(0.01)").replace("vector(1)", "vector(0.25)")
    assert rendered == yaml.safe_load(
        text.replace("https://littlebig.example/docs/runbook.md", objectives["runbookUrl"])
    )


def test_a_cpu_pod_requests_no_gpu_and_builds_no_engines():
    pod = pod_of(render(CPU))
    assert [container["name"] for container in pod["initContainers"]] == ["repository", "preflight"]
    assert "nvidia" not in json.dumps(pod)
    assert "cache" not in [volume["name"] for volume in pod["volumes"]]


def test_a_gpu_pod_fetches_checks_and_builds_before_it_serves():
    pod = pod_of(render({"calibration": {"json": CALIBRATION}, "gpu": {"count": 2}}))
    assert [container["name"] for container in pod["initContainers"]] == [
        "repository",
        "calibration",
        "preflight",
        "engines",
    ]
    for container in (pod["initContainers"][-1], pod["containers"][0]):
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
        assert container["resources"]["requests"]["nvidia.com/gpu"] == "2"
    for container in pod["initContainers"][:-1]:
        assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_a_pod_whose_onnx_runtime_builds_engines_keeps_them_in_the_cache():
    pod = pod_of(render({"target": "onnxruntime"}))
    assert "engines" not in [container["name"] for container in pod["initContainers"]]
    triton = pod["containers"][0]
    assert triton["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "cache", "mountPath": CACHE} in triton["volumeMounts"]
    assert "cache" in [volume["name"] for volume in pod["volumes"]]


def test_big_only_is_applied_where_it_is_allowed():
    calibration = {"json": '{"chosen": {"threshold": null}}', "allowBigOnly": True}
    init = {
        container["name"]: container for container in pod_of(render({"calibration": calibration}))["initContainers"]
    }
    assert init["calibration"]["args"] == [
        "--repository=/models",
        "--allow-big-only",
        "/calibration/calibration.json",
    ]


@pytest.mark.parametrize(
    ("values", "mib"),
    [
        ({}, "2048"),  # of 8Gi
        ({"resources": {"limits": {"memory": "2Gi"}}}, "512"),
        ({"server": {"decodeMemoryMiB": 700}}, "700"),
        ({"resources": {"limits": {"memory": None}}}, None),
    ],
    ids=["default", "limit", "given", "no limit"],
)
def test_decoding_gets_a_quarter_of_the_memory_limit_or_what_is_given(values, mib):
    environment = {entry["name"]: entry.get("value") for entry in server_of(render(values))["env"]}
    assert environment.get("LITTLEBIG_PREPROCESS_MEMORY_MIB") == mib


def test_requests_and_limits_are_separate():
    resources = server_of(render({}))["resources"]
    assert sorted(resources["limits"]) == ["memory", "nvidia.com/gpu"]
    assert sorted(resources["requests"]) == ["cpu", "memory", "nvidia.com/gpu"]


def test_a_killed_gate_is_unready_within_ten_seconds_and_restarted_within_thirty():
    server = server_of(render({}))
    ready, live = server["readinessProbe"], server["livenessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"] < 10
    kubelet_extra = 2  # seconds that the kubelet adds when preStop has used up the grace period
    restarted = live["periodSeconds"] * live["failureThreshold"] + live["timeoutSeconds"]
    assert restarted + live["terminationGracePeriodSeconds"] + kubelet_extra < 30


@pytest.mark.parametrize("case", ["everything", "cpu-volume-none-inside", "tensorrt-no-cache-volume-hpa-tls-ingress"])
def test_every_littlebig_command_and_option_exists(case):
    pod = pod_of(render(CASES[case]))
    containers = [*pod["initContainers"], *pod["containers"]]
    calls = [[*container["command"], *container.get("args", [])] for container in containers]
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    calls += [pod["containers"][0][probe]["exec"]["command"] for probe in probes]
    arguments = [words[1:] for words in calls if words[0] == "littlebig"]
    assert len(arguments) >= 5
    for name, *words in arguments:
        command = littlebig.get_command(click.Context(littlebig), name)
        command.make_context(name, words)  # parses the options; raises UsageError for an unknown one


def test_the_notes_name_the_next_commands():
    result = helm("install", "littlebig", str(CHART), "--dry-run=client", values={"calibration": {"required": False}})
    assert result.returncode == 0, result.stderr
    notes = result.stdout.partition("NOTES:\n")[2]
    assert "kubectl --namespace default rollout status deployment/littlebig --timeout 1h" in notes
    assert "WARNING: calibration.required is off." in notes


def test_probes_time_out_before_the_kubelet_kills_them():
    server = server_of(render({"probes": {"big": "optional"}}))
    for name, state in (("startupProbe", "startup"), ("readinessProbe", "ready"), ("livenessProbe", "live")):
        probe = server[name]
        assert probe["exec"]["command"] == [
            *("littlebig", "probe", state, "--url=localhost:8001"),
            f"--timeout={probe['timeoutSeconds'] - 2}",
            "--big=optional",
        ]


def test_probes_check_the_certificate_of_a_server_with_tls():
    server = server_of(render({"tls": {"enabled": True, "secretName": "certificate"}}))
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        words = server[name]["exec"]["command"]
        assert words[-2:] == ["--tls-ca=/tls/ca.crt", "--tls-name=littlebig-grpc.vision.svc"]


def test_the_startup_probe_waits_longer_than_serve():
    for seconds in (1, 119, 300):
        server = server_of(render({"server": {"startupTimeoutSeconds": seconds}}))
        probe = server["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] > seconds
        assert f"--startup-timeout={seconds}" in server["args"]


def test_the_grace_period_covers_pre_stop_and_exit_timeout():
    values = {"shutdown": {"preStopSeconds": 40}, "server": {"exitTimeoutSeconds": 50}}
    manifests = render(values)
    server = server_of(manifests)
    assert pod_of(manifests)["terminationGracePeriodSeconds"] == 100
    assert server["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "40"]
    assert "--exit-timeout=50" in server["args"]
    given = render({**values, "shutdown": {"preStopSeconds": 40, "gracePeriodSeconds": 200}})
    assert pod_of(given)["terminationGracePeriodSeconds"] == 200


def test_an_update_starts_a_pod_before_it_removes_one():
    assert find(render({}), "Deployment")["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }


def test_the_number_of_pods_comes_from_values_or_from_an_autoscaler():
    assert find(render({"replicas": 5}), "Deployment")["spec"]["replicas"] == 5
    for kind in ("hpa", "keda"):
        assert "replicas" not in find(render({"autoscaling": {"kind": kind}}), "Deployment")["spec"]


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_each_queue_is_a_separate_metric(kind):
    manifests = render({"autoscaling": {"kind": kind, "pending": {"little": 3, "big": 5, "gate": 0}}})
    if kind == "hpa":
        metrics = find(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"]
        targets = {
            metric["pods"]["metric"]["selector"]["matchLabels"]["model"]: metric["pods"]["target"]["averageValue"]
            for metric in metrics
        }
    else:
        triggers = find(manifests, "ScaledObject")["spec"]["triggers"]
        targets = {trigger["name"]: trigger["metadata"]["threshold"] for trigger in triggers}
        assert all(f'model="{trigger["name"]}"' in trigger["metadata"]["query"] for trigger in triggers)
    assert targets == {"little": "3", "big": "5"}


def test_services_select_the_pods_and_only_the_headless_one_has_no_address():
    manifests = render({})
    services = {
        manifest["metadata"]["name"]: manifest["spec"] for manifest in manifests if manifest["kind"] == "Service"
    }
    assert sorted(services) == ["littlebig-grpc", "littlebig-headless", "littlebig-metrics"]
    assert services["littlebig-headless"]["clusterIP"] == "None"
    assert "clusterIP" not in services["littlebig-grpc"]
    selected = find(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    ports = {port["name"] for port in server_of(manifests)["ports"]}
    for service in services.values():
        assert service["selector"].items() <= selected
        assert {port["targetPort"] for port in service["ports"]} <= ports


def test_http_is_served_on_request_and_inside_the_cluster_alone():
    manifests = render({})
    assert not any(word.startswith("--http-host") for word in server_of(manifests)["args"])
    assert [port["name"] for port in server_of(manifests)["ports"]] == ["grpc", "metrics"]
    clients, monitoring = find(manifests, "NetworkPolicy")["spec"]["ingress"]
    assert clients["ports"] == [{"port": "grpc"}]
    assert monitoring["ports"] == [{"port": "metrics"}]

    asked = render(CASES["everything"])
    assert "--http-host=0.0.0.0" in server_of(asked)["args"]
    assert {"port": "http"} in find(asked, "NetworkPolicy")["spec"]["ingress"][0]["ports"]
    types = {item["metadata"]["name"]: item["spec"]["type"] for item in asked if item["kind"] == "Service"}
    assert types.pop("littlebig-grpc") == "LoadBalancer"
    assert set(types.values()) == {"ClusterIP"}
    balancer = find(asked, "Service", "littlebig-grpc")
    assert balancer["metadata"]["annotations"] == {"example/balancer": "internal"}
    assert balancer["spec"]["externalTrafficPolicy"] == "Local"


def test_prometheus_reaches_the_metrics():
    assert "--metrics-host=0.0.0.0" in server_of(render({}))["args"]


def test_the_ingress_takes_photographs_and_canonical_images_and_a_users_annotation_wins():
    annotation = "nginx.ingress.kubernetes.io/proxy-body-size"
    values = OUTSIDE["tls-ingress"]
    assert find(render(values), "Ingress")["metadata"]["annotations"] == {
        annotation: "64m",
        "nginx.ingress.kubernetes.io/backend-protocol": "GRPCS",
    }
    own = merged(values, {"ingress": {"annotations": {annotation: "8m"}}})
    assert find(render(own), "Ingress")["metadata"]["annotations"][annotation] == "8m"


def test_a_gateway_speaks_tls_to_pods_that_require_it():
    values = {
        "tls": {"enabled": True, "secretName": "certificate"},
        "gateway": {"backendTLS": {"caConfigMapName": "ca"}},
    }
    policy = find(render(merged(OUTSIDE["gateway"], values)), "BackendTLSPolicy")["spec"]
    assert policy["targetRefs"] == [{"group": "", "kind": "Service", "name": "littlebig-grpc"}]
    assert policy["validation"] == {
        "hostname": "littlebig-grpc.vision.svc",
        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
    }


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        ({}, [53, 53]),
        ({"dnsPorts": [53, 5353]}, [53, 53, 5353, 5353]),
        ({"workloadIdentity": "gke"}, [53, 53, ("169.254.169.254/32", 80), ("169.254.169.252/32", 988)]),
        ({"workloadIdentity": "eks", "egress": []}, [53, 53, ("169.254.170.23/32", 80)]),
    ],
    ids=["default", "openshift", "gke", "eks"],
)
def test_egress_is_dns_and_the_clouds_identity_service(values, ports):
    rules = find(render({"networkPolicy": values}), "NetworkPolicy")["spec"]["egress"]
    reached = []
    for rule in rules:
        address = rule["to"][0]["ipBlock"]["cidr"] if "to" in rule else None
        reached += [(address, port["port"]) if address else port["port"] for port in rule["ports"]]
    assert reached == ports


def test_the_schema_has_every_value_and_the_chart_has_the_package_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) == {*values, "global"}
    assert list(unknown(values, schema, schema)) == []


def unknown(values: Manifest, schema: Manifest, root: Manifest, path: str = "") -> Iterator[str]:
    """Paths of values that an object of the schema does not list."""
    if "$ref" in schema:
        schema = functools.reduce(lambda part, name: part[name], schema["$ref"].split("/")[1:], root)
    for name, value in values.items():
        inner = schema.get("properties", {}).get(name)
        if inner is None and "properties" in schema:
            yield f"{path}/{name}"
        elif isinstance(value, dict) and inner is not None:
            yield from unknown(value, inner, root, f"{path}/{name}")


def test_every_value_is_documented():
    # By a comment directly above it, or above a value that contains it.
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
