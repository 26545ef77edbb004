"""What a platform team's policies ask of every pod, for every combination of values."""

from __future__ import annotations

import re

import pytest

from tests.unit.chart.helm import Manifest, find, pod_of, render, server_of
from tests.unit.chart.matrix import CASES

# One of each source, target and way out; the whole matrix differs in nothing that these rules look at.
LOOKED_AT = [
    "default",
    "everything",
    "tensorrt-no-cache-image-hpa-gateway",
    "tensorrt-object-storage-keda-tls-ingress",
    "cpu-volume-none-inside",
]


@pytest.fixture(scope="module", params=LOOKED_AT)
def manifests(request) -> list[Manifest]:
    return render(CASES[request.param])


@pytest.fixture
def containers(manifests) -> list[Manifest]:
    pod = pod_of(manifests)
    return [*pod["initContainers"], *pod["containers"]]


def test_nothing_runs_as_root_or_may_become_it(manifests, containers):
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


def test_what_is_written_goes_into_volumes_with_a_limit(manifests, containers):
    volumes = {volume["name"]: volume for volume in pod_of(manifests)["volumes"]}
    for volume in volumes.values():
        assert "hostPath" not in volume
        if "emptyDir" in volume:
            assert volume["emptyDir"]["sizeLimit"]
    for container in containers:
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert mounts.keys() <= volumes.keys()
        assert mounts["tmp"]["mountPath"] == "/tmp"  # noqa: S108
        for read_only in {"source", "tls", "calibration"} & mounts.keys():
            assert mounts[read_only]["readOnly"] is True


def test_the_pod_shares_nothing_with_its_node(manifests, containers):
    pod = pod_of(manifests)
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases"} & pod.keys()
    assert not any("hostPort" in port for container in containers for port in container.get("ports", []))


def test_the_pod_has_no_token_of_kubernetes(manifests):
    assert pod_of(manifests)["automountServiceAccountToken"] is False
    assert pod_of(manifests)["enableServiceLinks"] is False
    assert find(manifests, "ServiceAccount")["automountServiceAccountToken"] is False


def test_memory_is_limited_and_no_cpu(containers):
    # No limit of CPU: see values.yaml. Everything else that the usual policies ask for is there.
    for container in containers:
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"]
        assert "cpu" not in container["resources"]["limits"]


def test_images_have_a_version(containers):
    for container in containers:
        name = container["image"].rpartition("/")[2]
        assert re.search(r"[:@]", name), name
        assert not name.endswith(":latest")


def test_secrets_are_named_and_never_written_out(manifests):
    assert "Secret" not in {manifest["kind"] for manifest in manifests}


def test_a_server_has_all_three_probes_and_a_pause_before_it_stops(manifests):
    server = server_of(manifests)
    assert {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"} <= server.keys()


def test_shared_memory_is_memory_with_a_size(manifests):
    (volume,) = (one for one in pod_of(manifests)["volumes"] if one["name"] == "shm")
    assert volume["emptyDir"]["medium"] == "Memory"
    assert {"name": "shm", "mountPath": "/dev/shm"} in server_of(manifests)["volumeMounts"]  # noqa: S108


def test_administration_is_closed_to_clients_by_a_key_that_they_do_not_know(manifests):
    arguments = server_of(manifests)["args"]
    closed = "shared-memory,model-repository,trace,logging:littlebig-administration=$(POD_UID)"
    assert f"--grpc-restricted-protocol={closed}" in arguments
    assert f"--http-restricted-api={closed}" in arguments
    (uid,) = (one for one in server_of(manifests)["env"] if one["name"] == "POD_UID")
    assert uid["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}


def test_what_is_open_is_said_and_the_rest_is_closed(manifests):
    policy = find(manifests, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])
    assert all(rule["ports"] for rule in policy["egress"])


def test_every_object_says_whose_it_is(manifests):
    for manifest in manifests:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "littlebig"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_selectors_of_an_update_do_not_change_with_versions(manifests):
    deployment = find(manifests, "Deployment")["spec"]
    assert deployment["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "littlebig",
        "app.kubernetes.io/instance": "littlebig",
    }
