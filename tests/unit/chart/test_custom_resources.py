"""Custom resources match models that are generated from the operators' own definitions: types and required fields.

These models accept unknown fields, custom_resources.py rejects them: together they find both kinds of mistake.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.chart.custom_resources import SCHEMAS
from tests.unit.chart.helm import ROOT, Manifest, render
from tests.unit.chart.matrix import MONITORED, OUTSIDE, SCALERS, merged

# Installs packages from npm.
pytestmark = pytest.mark.slow

PACKAGES = (
    "@kubernetes-models/gateway-api@2.0.0",
    "@kubernetes-models/keda@2.0.0",
    "@kubernetes-models/prometheus-operator@6.0.0",
)
KINDS = {name.rpartition("/")[2] for name in SCHEMAS}


@pytest.fixture(scope="module")
def models() -> Path:
    """A folder in which the packages are installed once."""
    if shutil.which("npm") is None:
        pytest.skip("needs Node.js and npm")
    folder = ROOT / "build" / "test" / "kubernetes-models"
    done = folder / "packages.txt"
    if not done.is_file() or done.read_text() != "\n".join(PACKAGES):
        folder.mkdir(parents=True, exist_ok=True)
        words = ["npm", "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES]
        installed = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
        if installed.returncode:
            pytest.skip(f"npm cannot install {', '.join(PACKAGES)}: {installed.stderr.strip().splitlines()[-1]}")
        done.write_text("\n".join(PACKAGES))
    return folder


def validate(models: Path, manifests: list[Manifest]) -> list[str]:
    script = Path(__file__).with_name("custom_resources.mjs")
    words = ["node", str(script), str(models)]
    result = subprocess.run(words, input=json.dumps(manifests), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return sorted(result.stdout.splitlines())


def custom() -> list[Manifest]:
    tls = {"tls": {"enabled": True, "secretName": "certificate"}, "gateway": {"backendTLS": {"caConfigMapName": "ca"}}}
    manifests = render(merged(MONITORED, SCALERS["keda"], OUTSIDE["gateway"], tls))
    return [manifest for manifest in manifests if manifest["kind"] in KINDS]


def test_all_custom_resources_are_valid(models):
    assert validate(models, custom()) == sorted(f"{kind}: valid" for kind in KINDS)


def test_a_wrong_type_is_found(models):
    manifests = {manifest["kind"]: manifest for manifest in custom()}
    manifests["ScaledObject"]["spec"]["triggers"][0]["metadata"]["threshold"] = 4
    manifests["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["interval"] = 15
    manifests["PrometheusRule"]["spec"]["groups"][0]["rules"][0]["expr"] = None
    manifests["GRPCRoute"]["spec"]["rules"][0]["backendRefs"][0]["weight"] = "5"
    manifests["BackendTLSPolicy"]["spec"]["validation"]["hostname"] = 8
    lines = validate(models, list(manifests.values()))
    assert not any(line.endswith(": valid") for line in lines)
    assert "ScaledObject: data/spec/triggers/0/metadata/threshold must be string" in lines
