"""Values for clusters that differ from the chart's expectations."""

from __future__ import annotations

import pytest

from tests.unit.chart.helm import CHART, Manifest, find, helm, merged, pod_of, render, server_of
from tests.unit.chart.matrix import CASES, CPU, OPENSHIFT

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: 'littlebig[test]'")


@pytest.fixture(scope="module")
def everything() -> list[Manifest]:
    return render(CASES["everything"])


def init_of(manifests: list[Manifest], name: str) -> Manifest:
    (container,) = (item for item in pod_of(manifests)["initContainers"] if item["name"] == name)
    return dict(container)


def environment(container: Manifest) -> dict[str, str]:
    """Variables of a container, none of them twice."""
    names = [entry["name"] for entry in container["env"]]
    assert len(names) == len(set(names))
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_openshift_assigns_user_and_group():
    security = pod_of(render(OPENSHIFT))["securityContext"]
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & security.keys()
    assert security["runAsNonRoot"] is True


def test_recreate_replaces_pods_without_a_second_gpu(everything):
    assert find(everything, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_scheduler_has_a_name_only_if_one_is_given(everything):
    assert pod_of(everything)["schedulerName"] == "volcano"
    assert "schedulerName" not in pod_of(render({}))


def test_extra_volumes_are_mounted_by_every_container(everything):
    pod = pod_of(everything)
    assert {"name": "authorities", "configMap": {"name": "authorities"}} in pod["volumes"]
    mount = {"name": "authorities", "mountPath": "/etc/authorities", "readOnly": True}
    assert all(mount in container["volumeMounts"] for container in [*pod["initContainers"], *pod["containers"]])


def test_extra_objects_are_templates(everything):
    assert find(everything, "ConfigMap", "littlebig-note")["metadata"]["namespace"] == "vision"


def test_an_init_container_has_its_own_resources_and_variables(everything):
    engines = init_of(everything, "engines")["resources"]
    assert engines["requests"] == {"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert engines["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "1"}
    assert environment(init_of(everything, "preflight")) == {"HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108


def test_a_users_variable_replaces_the_charts():
    own = {"env": [{"name": "HOME", "value": "/cache"}, {"name": "LITTLEBIG_PREPROCESS_MEMORY_MIB", "value": "64"}]}
    names = ("repository", "preflight", "engines")
    manifests = render({"server": own, "initContainers": dict.fromkeys(names, own)})
    for container in (server_of(manifests), *(init_of(manifests, name) for name in names)):
        assert environment(container)["HOME"] == "/cache"
    assert environment(server_of(manifests))["LITTLEBIG_PREPROCESS_MEMORY_MIB"] == "64"


def test_a_users_labels_replace_the_charts_but_not_the_selectors():
    own = {"app.kubernetes.io/version": "8", "app.kubernetes.io/instance": "other", "team": "vision"}
    values = {"podLabels": own, "monitoring": {"podMonitor": {"enabled": True, "labels": own}}}
    result = helm("template", "littlebig", str(CHART), "--namespace", "vision", values=values)
    assert result.stdout.count('app.kubernetes.io/version: "8"') == 2
    manifests = render(values)
    for labels in (
        find(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"],
        find(manifests, "PodMonitor")["metadata"]["labels"],
    ):
        assert labels["team"] == "vision"
        assert labels["app.kubernetes.io/version"] == "8"
        assert labels["app.kubernetes.io/instance"] == "littlebig"


def test_a_spread_constraint_keeps_its_own_selector():
    selector = {"matchLabels": {"tier": "gpu"}}
    constraint = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    constraints = pod_of(render({"topologySpread": [{**constraint, "labelSelector": selector}, constraint]}))
    first, second = constraints["topologySpreadConstraints"]
    assert first["labelSelector"] == selector
    assert second["labelSelector"]["matchLabels"]["app.kubernetes.io/name"] == "littlebig"


@pytest.mark.parametrize("count", [0, 1])
def test_gpus_come_from_claims_beside_or_instead_of_the_device_plugin(count):
    claim = {"name": "gpu", "resourceClaimTemplateName": "one-l4"}
    manifests = render({"gpu": {"count": count, "claims": [claim]}})
    # Claims have this form since Kubernetes 1.31.
    kubernetes_validate.validate(find(manifests, "Deployment"), kubernetes_validate.latest_version(), strict=True)
    assert pod_of(manifests)["resourceClaims"] == [claim]
    for container in (server_of(manifests), init_of(manifests, "engines")):
        assert container["resources"]["claims"] == [{"name": "gpu"}]
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) == bool(count)
    assert "claims" not in init_of(manifests, "preflight")["resources"]


def test_a_cpu_pod_claims_no_gpu():
    manifests = render(merged(CPU, {"gpu": {"claims": [{"name": "gpu", "resourceClaimName": "one"}]}}))
    assert "resourceClaims" not in pod_of(manifests)
    assert "claims" not in server_of(manifests)["resources"]


# Values that a user may remove with null, which leaves no default behind.
REMOVED = {
    **dict.fromkeys(("affinity", "extraVolumes", "imagePullSecrets", "nodeSelector", "schedulerName", "tolerations")),
    **dict.fromkeys(
        ("containerSecurityContext", "podAnnotations", "podLabels", "podSecurityContext", "topologySpread")
    ),
    "calibration": {"json": None},
    "gpu": {"claims": None},
    "networkPolicy": {"clients": None, "egress": None},
    "resources": {"limits": None},
    "server": {"env": None, "extraArguments": None},
    "service": {"annotations": None},
    "serviceAccount": {"annotations": None},
    "updateStrategy": {"type": "Recreate", "rollingUpdate": None},
}


@pytest.mark.parametrize("own", [None, {"engines": None}, {"engines": {"env": None, "resources": None}}])
def test_values_that_are_removed_have_no_effect_instead_of_an_error(own):
    server = server_of(render({**REMOVED, "initContainers": own}))
    assert "securityContext" not in server
    assert server["resources"]["limits"] == {"nvidia.com/gpu": "1"}
