"""deploy/kserve.yaml passes KServe's schemas, and runs what the chart runs."""

from __future__ import annotations

import importlib.metadata
import re

import pytest
import yaml

from tests.unit.chart.helm import ROOT, Manifest, Values, find, merged, pod_of, render, server_of

jsonschema = pytest.importorskip("jsonschema", reason="needs kubernetes-validate: 'littlebig[test]'")

kserve_schemas = pytest.importorskip("tests.unit.chart.kserve_schemas")

PAGE = ROOT / "docs" / "kserve.md"


@pytest.fixture(autouse=True)
def _models() -> None:
    try:
        importlib.metadata.version("kserve")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs KServe's models: pip install --no-deps kserve")


@pytest.fixture
def manifests() -> list[Manifest]:
    return list(yaml.safe_load_all((ROOT / "deploy" / "kserve.yaml").read_text()))


@pytest.fixture
def runtime(manifests: list[Manifest]) -> Manifest:
    return dict(find(manifests, "ServingRuntime")["spec"])


@pytest.fixture
def service(manifests: list[Manifest]) -> Manifest:
    return find(manifests, "InferenceService")


def snippets() -> list[Values]:
    """The changes of the InferenceService that the page shows."""
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]


def test_both_objects_are_valid(manifests):
    for manifest in manifests:
        kserve_schemas.validate(manifest)


def test_the_documented_changes_are_valid(service):
    assert snippets()
    for change in snippets():
        kserve_schemas.validate(merged(service, change))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model", "storageUrl"), "s3://models", "'storageUrl' was unexpected"),
        (("model", "modelFormat"), None, "None is not of type 'object'"),
        (("minReplicas",), "2", "'2' is not of type 'integer'"),
        (("tolerations",), [{"keys": "gpu"}], "'keys' was unexpected"),
    ],
)
def test_a_mistake_is_found(service, path, value, message):
    *folders, name = ("spec", "predictor", *path)
    inner = service
    for folder in folders:
        inner = inner[folder]
    inner[name] = value
    with pytest.raises(jsonschema.ValidationError, match=message):
        kserve_schemas.validate(service)


def test_a_required_field_is_missed(manifests):
    del find(manifests, "ServingRuntime")["spec"]["containers"]
    with pytest.raises(jsonschema.ValidationError, match="'containers' is a required property"):
        kserve_schemas.validate(find(manifests, "ServingRuntime"))


def test_the_container_is_the_charts_on_kserves_mount(runtime):
    chart = server_of(render({}))
    del chart["resources"]  # of the InferenceService
    chart["name"] = "kserve-container"
    chart["args"][0] = "--repository=/mnt/models"
    chart["volumeMounts"] = [mount for mount in chart["volumeMounts"] if mount["name"] != "models"]
    assert runtime["containers"] == [chart]
    volumes = [volume for volume in pod_of(render({}))["volumes"] if volume["name"] in ("shm", "tmp")]
    assert runtime["volumes"] == volumes


def test_the_pod_is_the_charts_with_a_limit_of_cpu(service):
    predictor, manifests = service["spec"]["predictor"], render({})
    resources = merged(server_of(manifests)["resources"], {"limits": {"cpu": "16"}})
    assert predictor["model"]["resources"] == resources
    deployment = find(manifests, "Deployment")["spec"]
    assert predictor["minReplicas"] == deployment["replicas"]
    assert predictor["deploymentStrategy"] == deployment["strategy"]
    for field in (
        *("automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds"),
        *("securityContext", "tolerations"),
    ):
        assert predictor[field] == pod_of(manifests)[field], field


def test_the_service_chooses_its_runtime_format_and_protocol(manifests, runtime, service):
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == find(manifests, "ServingRuntime")["metadata"]["name"]
    assert model["modelFormat"]["name"] in [entry["name"] for entry in runtime["supportedModelFormats"]]
    assert model["protocolVersion"] in runtime["protocolVersions"]
