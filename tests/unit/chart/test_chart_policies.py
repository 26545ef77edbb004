"""Common cluster policies hold for the pods of every kind of values."""

from __future__ import annotations

import re

import pytest

from tests.unit.chart.helm import Manifest, find, pod_of, render, server_of
from tests.unit.chart.matrix import CASES

# Each source, target and kind of access; further combinations add nothing that these rules examine.
EXAMINED = [
    "default",
    "everything",
    "tensorrt-no-cache-image-hpa-gateway",
    "tensorrt-object-storage-keda-tls-ingress",
    "cpu-volume-none-inside",
]


@pytest.fixture(scope="module", params=EXAMINED)
def manifests(request) -> list[Manifest]:
    return render(CASES[request.param])


@pytest.fixture
def containers(manifests) -> list[Manifest]:
    pod = pod_of(manifests)
    return [*pod["initContainers"], *pod["containers"]]


def test_no_container_runs_as_root_or_gains_privileges(manifests, containers):
    security = pod_of(manifests)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_containers_write_only_to_volumes_with_a_limit(manifests, containers):
    volumes = {volume["name"]: volume for volume in pod_of(manifests)["volumes"]}
    for volume in volumes.values():
        assert "hostPath" not in volume
        if "emptyDir" in volume:
            assert volume["emptyDir"]["sizeLimit"]
    for container in containers:
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert mounts.keys() <= volumes.keys()
        assert mounts["tmp"]["mountPath"] == "/tmp"  # noqa: S108
        for read_only in {"source", "tls", "calibration", "authorities"} & mounts.keys():
            assert mounts[read_only]["readOnly"] is True


def test_the_pod_shares_no_namespace_or_port_with_its_node(manifests, containers):
    pod = pod_of(manifests)
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases"} & pod.keys()
    assert not any("hostPort" in port for container in containers for port in container.get("ports", []))


def test_the_pod_has_no_service_account_token(manifests):
    assert pod_of(manifests)["automountServiceAccountToken"] is False
    assert pod_of(manifests)["enableServiceLinks"] is False
    assert find(manifests, "ServiceAccount")["automountServiceAccountToken"] is False


def test_memory_is_limited_and_cpu_is_not(containers):
    # values.yaml explains why there is no CPU limit.
    for container in containers:
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"]
        assert "cpu" not in container["resources"]["limits"]


def test_every_image_has_a_version(containers):
    for container in containers:
        name = container["image"].rpartition("/")[2]
        assert re.search(r"[:@]", name), name
        assert not name.endswith(":latest")


def test_no_secret_is_rendered(manifests):
    assert "Secret" not in {manifest["kind"] for manifest in manifests}


def test_the_server_has_three_probes_and_a_pre_stop_hook(manifests):
    server = server_of(manifests)
    assert {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"} <= server.keys()


def test_shared_memory_is_a_memory_volume_with_a_size(manifests):
    (volume,) = (volume for volume in pod_of(manifests)["volumes"] if volume["name"] == "shm")
    assert volume["emptyDir"]["medium"] == "Memory"
    assert {"name": "shm", "mountPath": "/dev/shm"} in server_of(manifests)["volumeMounts"]  # noqa: S108


def test_administration_stays_closed(manifests):
    # `littlebig serve` closes it with a secret that nobody else knows; the pod's uid is no secret.
    server = server_of(manifests)
    assert "--open-admin" not in server["args"]
    assert not any("fieldRef" in variable.get("valueFrom", {}) for variable in server["env"])


def test_every_network_rule_names_peers_and_ports(manifests):
    policy = find(manifests, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])
    assert all(rule["ports"] for rule in policy["egress"])


def test_every_object_has_the_release_labels(manifests):
    for manifest in manifests:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "littlebig"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_selectors_do_not_contain_the_version(manifests):
    deployment = find(manifests, "Deployment")["spec"]
    assert deployment["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "littlebig",
        "app.kubernetes.io/instance": "littlebig",
    }
