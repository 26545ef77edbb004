"""Two revisions of a release, and a canary beside it, do not disturb each other."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.unit.chart.helm import CHART, Manifest, find, merged, render, server_of
from tests.unit.chart.matrix import CALIBRATION, CANARY, MONITORED, PRODUCTION

NEWER = CALIBRATION.replace("0.4", "0.5")


def template(manifests: list[Manifest]) -> Manifest:
    """The pod template, which a ReplicaSet keeps for each revision."""
    found: Manifest = find(manifests, "Deployment")["spec"]["template"]
    return found


def applied_calibration(pod: Manifest) -> str:
    """What `littlebig apply` reads in a pod of this template: a file of the volume that the container mounts."""
    (container,) = (item for item in pod["spec"]["initContainers"] if item["name"] == "calibration")
    (mount,) = (item for item in container["volumeMounts"] if item["name"] == "calibration")
    assert container["args"][-1] == f"{mount['mountPath']}/calibration.json"
    (volume,) = (item for item in pod["spec"]["volumes"] if item["name"] == "calibration")
    (entry,) = volume["downwardAPI"]["items"]
    assert entry["path"] == "calibration.json"
    key = entry["fieldRef"]["fieldPath"].removeprefix("metadata.annotations['").removesuffix("']")
    content: str = pod["metadata"]["annotations"][key]
    return content


@pytest.fixture(scope="module")
def revisions() -> list[list[Manifest]]:
    return [render({"calibration": {"json": content}}) for content in (CALIBRATION, NEWER)]


def test_each_revision_applies_its_own_calibration(revisions):
    older, newer = map(template, revisions)
    assert applied_calibration(older) == CALIBRATION
    assert applied_calibration(newer) == NEWER


def test_a_new_calibration_changes_the_pod_template_and_no_other_object(revisions):
    # A pod of the older revision that starts again reads nothing that the newer revision wrote.
    older, newer = revisions
    assert template(older) != template(newer)
    for manifests in revisions:
        template(manifests)["metadata"]["annotations"].pop("littlebig/calibration")
    assert older == newer


def test_a_pod_template_refers_to_no_object_that_an_upgrade_replaces():
    manifests = render(merged(MONITORED, {"calibration": {"json": CALIBRATION}}))
    volumes = template(manifests)["spec"]["volumes"]
    assert not any("configMap" in volume or "secret" in volume for volume in volumes)


@pytest.fixture(scope="module")
def releases() -> dict[str, list[Manifest]]:
    """The main release with a route to its canary, and the canary, both from the same values."""
    production = merged(PRODUCTION, MONITORED)
    backend = {"name": "littlebig-canary-grpc", "port": 8001, "weight": 5}
    main = merged(production, {"gateway": {"weight": 95, "canaries": [backend]}})
    canary = merged(production, CANARY, {"calibration": {"json": NEWER}})
    return {"main": render(main), "canary": render(canary, release="littlebig-canary")}


def test_a_canary_has_no_object_of_the_main_release(releases):
    names = {
        release: {(item["kind"], item["metadata"]["name"]) for item in manifests}
        for release, manifests in releases.items()
    }
    assert not names["main"] & names["canary"]
    kinds = {kind for kind, _ in names["canary"]}
    assert not kinds & {"PrometheusRule", "ConfigMap", "GRPCRoute", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    assert "PodMonitor" in kinds


def test_a_canary_is_one_pod_with_the_new_calibration(releases):
    assert find(releases["canary"], "Deployment")["spec"]["replicas"] == 1
    assert applied_calibration(template(releases["canary"])) == NEWER
    assert server_of(releases["canary"]) == server_of(releases["main"])


def test_the_main_releases_route_leads_to_the_canary(releases):
    backends = find(releases["main"], "GRPCRoute")["spec"]["rules"][0]["backendRefs"]
    assert [(backend["name"], backend["weight"]) for backend in backends] == [
        ("littlebig-grpc", 95),
        ("littlebig-canary-grpc", 5),
    ]
    for release, backend in zip(("main", "canary"), backends, strict=True):
        (port,) = find(releases[release], "Service", backend["name"])["spec"]["ports"]
        assert port["port"] == backend["port"]


def test_no_selector_of_a_release_matches_the_others_pods(releases):
    selectors = {
        release: find(manifests, "Deployment")["spec"]["selector"]["matchLabels"]
        for release, manifests in releases.items()
    }
    for release, other in (("main", "canary"), ("canary", "main")):
        labels = template(releases[other])["metadata"]["labels"]
        assert not selectors[release].items() <= labels.items()


def test_the_main_releases_autoscaler_counts_no_request_of_the_canary():
    triggers = find(render({"autoscaling": {"kind": "keda"}}), "ScaledObject")["spec"]["triggers"]
    for trigger in triggers:
        (pods,) = re.findall(r'pod=~"([^"]+)"', trigger["metadata"]["query"])
        assert re.fullmatch(pods, "littlebig-6d4cf56db6-x2x9z")
        assert not re.fullmatch(pods, "littlebig-canary-6d4cf56db6-x2x9z")


def test_the_documented_command_names_the_file():
    header = (CHART / "values-canary.yaml").read_text().partition("\ncanaryOf")[0]
    assert "--values deploy/helm/littlebig/values-canary.yaml" in header
    assert yaml.safe_load((CHART / "values-canary.yaml").read_text())["canaryOf"] == "littlebig"
