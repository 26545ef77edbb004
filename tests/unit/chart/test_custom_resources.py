"""Custom resources match models that are generated from the operators' own definitions: types and required fields.

These models accept unknown fields, custom_resources.py rejects them: together they find both kinds of mistake.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.chart.custom_resources import SCHEMAS
from tests.unit.chart.helm import Manifest, render
from tests.unit.chart.matrix import MONITORED, OUTSIDE, SCALERS, merged

# Installs packages from npm.
pytestmark = pytest.mark.slow

KINDS = {name.rpartition("/")[2] for name in SCHEMAS}


def validate(npm: Path, manifests: list[Manifest]) -> list[str]:
    script = Path(__file__).with_name("custom_resources.mjs")
    words = ["node", str(script), str(npm)]
    result = subprocess.run(words, input=json.dumps(manifests), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return sorted(result.stdout.splitlines())


def custom() -> list[Manifest]:
    tls = {"tls": {"enabled": True, "secretName": "certificate"}, "gateway": {"backendTLS": {"caConfigMapName": "ca"}}}
    manifests = render(merged(MONITORED, SCALERS["keda"], OUTSIDE["gateway"], tls))
    return [manifest for manifest in manifests if manifest["kind"] in KINDS]


def test_all_custom_resources_are_valid(npm):
    assert validate(npm, custom()) == sorted(f"{kind}: valid" for kind in KINDS)


def test_a_wrong_type_is_found(npm):
    manifests = {manifest["kind"]: manifest for manifest in custom()}
    manifests["ScaledObject"]["spec"]["triggers"][0]["metadata"]["threshold"] = 4
    manifests["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["interval"] = 15
    manifests["PrometheusRule"]["spec"]["groups"][0]["rules"][0]["expr"] = None
    manifests["GRPCRoute"]["spec"]["rules"][0]["backendRefs"][0]["weight"] = "5"
    manifests["BackendTLSPolicy"]["spec"]["validation"]["hostname"] = 8
    lines = validate(npm, list(manifests.values()))
    assert not any(line.endswith(": valid") for line in lines)
    assert "ScaledObject: data/spec/triggers/0/metadata/threshold must be string" in lines
