"""Two pools in one chart: little with the gate, and big, each with machines, sizes and policies of its own."""

from __future__ import annotations

import pytest
import yaml

from tests.unit.chart.helm import CHART, find, merged, refusal, render
from tests.unit.chart.matrix import MONITORED
from tests.unit.chart.test_chart_renders import VERSIONS, validate

POOLS = {
    "pools": {
        "enabled": True,
        "little": {
            "target": "cpu",
            "image": {"repository": "registry.example/littlebig-cpu"},
            "replicas": 4,
            "tolerations": [],
            "repository": {"volume": {"subPath": "little"}},
            "autoscaling": {"kind": "hpa", "maxReplicas": 40},
        },
        "big": {
            "replicas": 1,
            "gpu": {"count": 2},
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100"},
            "repository": {"volume": {"subPath": "big"}},
            "autoscaling": {"kind": "hpa", "maxReplicas": 3},
            "podDisruptionBudget": {"maxUnavailable": "50%"},
        },
    }
}
CLIENTS = {"networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}
EDGE = merged(POOLS, yaml.safe_load((CHART / "values-edge.yaml").read_text()))
CLOUD = merged(POOLS, yaml.safe_load((CHART / "values-cloud.yaml").read_text()))


def pool_label(manifest):
    return manifest["spec"]["selector"]["matchLabels"]["littlebig/pool"]


@pytest.fixture(scope="module")
def pools():
    return render(merged(POOLS, MONITORED))


@pytest.mark.parametrize("values", [POOLS, merged(POOLS, MONITORED), EDGE, CLOUD], ids=["two", "all", "edge", "cloud"])
def test_every_object_is_valid_and_has_a_name_of_its_own(values):
    manifests = render(values)
    for version in VERSIONS:
        for manifest in manifests:
            validate(manifest, version)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(set(names)) == len(names)


def test_each_pool_has_its_own_deployment_autoscaler_and_budget(pools):
    for pool, most, unavailable in (("little", 40, 1), ("big", 3, "50%")):
        name = f"littlebig-{pool}"
        deployment = find(pools, "Deployment", name)
        assert pool_label(deployment) == pool
        assert deployment["spec"]["template"]["metadata"]["labels"]["littlebig/pool"] == pool
        scaler = find(pools, "HorizontalPodAutoscaler", name)["spec"]
        assert (scaler["scaleTargetRef"]["name"], scaler["maxReplicas"]) == (name, most)
        budget = find(pools, "PodDisruptionBudget", name)
        assert (pool_label(budget), budget["spec"]["maxUnavailable"]) == (pool, unavailable)


def test_a_pool_scales_on_its_own_queues(pools):
    def models(pool):
        metrics = find(pools, "HorizontalPodAutoscaler", f"littlebig-{pool}")["spec"]["metrics"]
        return {metric["pods"]["metric"]["selector"]["matchLabels"]["model"] for metric in metrics}

    assert models("little") == {"little", "little_big"}
    assert models("big") == {"big"}


def server(manifests, pool):
    pod = find(manifests, "Deployment", f"littlebig-{pool}")["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def test_only_big_gets_the_gpus_and_their_nodes(pools):
    (little_pod, little), (big_pod, big) = server(pools, "little"), server(pools, "big")
    assert "nvidia.com/gpu" not in little["resources"]["limits"]
    assert big["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nodeSelector" not in little_pod
    assert big_pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100"}
    assert little["image"].startswith("registry.example/littlebig-cpu:")


def test_little_calls_big_by_the_name_of_all_its_pods(pools):
    _, little = server(pools, "little")
    environment = {variable["name"]: variable["value"] for variable in little["env"]}
    assert environment["LITTLEBIG_BIG_URL"] == "dns:///littlebig-big-headless.vision.svc:8001"
    service = find(pools, "Service", "littlebig-big-headless")["spec"]
    assert (service["clusterIP"], service["selector"]["littlebig/pool"]) == ("None", "big")
    assert service["ports"][0]["port"] == 8001


def test_callers_find_little_under_the_names_of_a_single_pool(pools):
    for name in ("littlebig-grpc", "littlebig-headless", "littlebig-metrics"):
        assert find(pools, "Service", name)["spec"]["selector"]["littlebig/pool"] == "little"


def test_only_littles_pods_reach_big(pools):
    rule, monitoring = find(pools, "NetworkPolicy", "littlebig-big")["spec"]["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["littlebig/pool"] == "little"
    assert rule["ports"] == [{"port": "grpc"}]
    assert monitoring["ports"] == [{"port": "metrics"}]
    egress = find(pools, "NetworkPolicy", "littlebig-little")["spec"]["egress"]
    (to_big,) = [rule for rule in egress if {"port": 8001} in rule["ports"]]
    assert to_big["to"][0]["podSelector"]["matchLabels"]["littlebig/pool"] == "big"
    assert not any(
        {"port": 8001} in rule["ports"] for rule in find(pools, "NetworkPolicy", "littlebig-big")["spec"]["egress"]
    )


def test_a_lost_big_does_not_take_little_out_of_service(pools):
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert "--big=optional" in server(pools, "little")[1][probe]["exec"]["command"]
        assert "--only=big" in server(pools, "big")[1][probe]["exec"]["command"]


def test_big_has_no_calibration(pools):
    def arguments(pool):
        return {c["name"]: c.get("args") for c in server(pools, pool)[0]["initContainers"]}["preflight"]

    assert "--require-calibration" in arguments("little")
    assert "--require-calibration" not in arguments("big")


def test_metrics_of_the_forwarding_model_do_not_count_as_bigs(pools):
    (endpoint,) = find(pools, "PodMonitor")["spec"]["podMetricsEndpoints"]
    (rename,) = endpoint["metricRelabelings"]
    assert (rename["regex"], rename["replacement"]) == ("little;big", "big_remote")
    assert endpoint["relabelings"][0]["targetLabel"] == "pool"


def test_an_edge_release_has_little_and_calls_the_cloud():
    manifests = render(EDGE)
    assert [m["metadata"]["name"] for m in manifests if m["kind"] == "Deployment"] == ["littlebig-little"]
    environment = {variable["name"]: variable["value"] for variable in server(manifests, "little")[1]["env"]}
    assert environment["LITTLEBIG_BIG_URL"] == "big.example:8001"
    egress = find(manifests, "NetworkPolicy")["spec"]["egress"]
    assert {"ports": [{"port": 8001}]} in egress


def test_a_cloud_release_has_big_and_takes_the_listed_callers():
    manifests = render(CLOUD)
    assert [m["metadata"]["name"] for m in manifests if m["kind"] == "Deployment"] == ["littlebig-big"]
    assert find(manifests, "Service", "littlebig-big-grpc")["spec"]["type"] == "LoadBalancer"
    rule = find(manifests, "NetworkPolicy")["spec"]["ingress"][0]
    assert rule["from"] == [{"ipBlock": {"cidr": "203.0.113.0/24"}}]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"only": "little"},
            "pools.bigUrl is empty: with pools.only=little, set it to the gRPC endpoint of the release that serves big, as big.example:8001",
        ),
        (
            {"only": "big"},
            "networkPolicy.clients is empty: with pools.only=big the callers are other releases' little; set their addresses or namespaces, or networkPolicy.enabled=false",
        ),
    ],
)
def test_a_pool_without_its_counterpart_is_refused(values, message):
    assert refusal(merged(POOLS, {"pools": values})) == message


def test_values_that_a_pool_does_not_have_are_refused():
    assert "additional properties 'tls' not allowed" in refusal({"pools": {"little": {"tls": {}}}})


def test_checks_read_each_pools_values():
    assert refusal(merged(POOLS, {"pools": {"big": {"gpu": {"count": 0}}}})).startswith("gpu.count is 0")
