"""The compose file for one host runs what the chart's two pools run."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.unit.chart.helm import ROOT, Manifest, find, render
from tests.unit.chart.matrix import CPU

COMPOSE = ROOT / "deploy" / "compose.yaml"
LITTLE = {name: CPU[name] for name in ("target", "resources", "shm", "tolerations")}
STAGES = ("little", "big")


@pytest.fixture(scope="module")
def services() -> dict[str, Manifest]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


@pytest.fixture(scope="module")
def pods() -> dict[str, Manifest]:
    """The pods of the chart's pools, little's without a GPU."""
    manifests = render({"pools": {"enabled": True, "little": LITTLE}})
    return {stage: find(manifests, "Deployment", f"littlebig-{stage}")["spec"]["template"]["spec"] for stage in STAGES}


def binary(size: str) -> str:
    """A size of compose, whose units are binary, as Kubernetes writes it."""
    return size.replace("mb", "Mi").replace("gb", "Gi")


@pytest.mark.parametrize("stage", STAGES)
def test_memory_health_check_and_security_are_the_charts(services, pods, stage):
    service, pod = services[stage], pods[stage]
    (container,) = pod["containers"]
    assert binary(service["mem_limit"]) == container["resources"]["limits"]["memory"]
    sizes = {volume["name"]: volume.get("emptyDir", {}).get("sizeLimit") for volume in pod["volumes"]}
    assert binary(service["shm_size"]) == sizes["shm"]
    assert service["healthcheck"]["test"] == ["CMD", *container["readinessProbe"]["exec"]["command"]]
    security = container["securityContext"]
    assert service["read_only"] is security["readOnlyRootFilesystem"] is True
    assert service["cap_drop"] == security["capabilities"]["drop"]
    assert service["security_opt"] == [f"no-new-privileges:{json.dumps(not security['allowPrivilegeEscalation'])}"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_environment_is_the_charts_but_for_bigs_address(services, pods, stage):
    (container,) = pods[stage]["containers"]
    expected = {entry["name"]: entry["value"] for entry in container["env"]}
    if stage == "little":
        expected["LITTLEBIG_BIG_URL"] = "big:8001"
    else:
        del expected["LITTLEBIG_PREPROCESS_MEMORY_MIB"]  # a stage alone decodes nothing
    assert services[stage]["environment"] == expected


@pytest.mark.parametrize("stage", STAGES)
def test_the_images_entry_point_serves_the_mounted_repository(services, pods, stage):
    build = services[stage]["build"]
    dockerfile = COMPOSE.parent / build["context"] / build["dockerfile"]
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", dockerfile.read_text(), re.MULTILINE)[0])
    (container,) = pods[stage]["containers"]
    assert entry[:2] == container["command"]
    assert entry[-4:] == ["--repository", "/models", "--host", "0.0.0.0"]  # noqa: S104
    assert container["args"][:2] == ["--repository=/models", "--host=0.0.0.0"]
    assert any(volume.split(":")[1] == "/models" for volume in services[stage]["volumes"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_container_may_answer_its_requests_before_it_is_killed(services, pods, stage):
    exit_timeout = re.search(r"--exit-timeout=(\d+)", " ".join(pods[stage]["containers"][0]["args"]))
    assert int(services[stage]["stop_grace_period"].removesuffix("s")) == int(exit_timeout[1]) + 10


def test_only_little_is_published_and_on_loopback(services):
    assert "ports" not in services["big"]
    assert all(port.startswith("127.0.0.1:") for port in services["little"]["ports"])


@pytest.mark.slow  # installs packages from npm
def test_it_has_the_compose_specifications_schema(npm):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema: 'littlebig[test]'")
    schema = json.loads((npm / "node_modules" / "dclint" / "schemas" / "compose.schema.json").read_text())
    validator = jsonschema.Draft7Validator(schema)
    validator.validate(yaml.safe_load(COMPOSE.read_text()))
    with pytest.raises(jsonschema.ValidationError, match="shmsize"):
        validator.validate(yaml.safe_load(COMPOSE.read_text().replace("shm_size", "shmsize")))
