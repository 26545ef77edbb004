"""checkov's Kubernetes policies hold for the rendered chart, apart from the exceptions below."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml

from tests.unit.chart.helm import ROOT, render
from tests.unit.chart.matrix import CASES

EXCEPTIONS = {
    # Throttling makes latencies jump; the CPU request reserves a share.
    "CKV_K8S_11": "CPU limits should be set",
    # A tag that never moves is pulled once, and a node must start pods while the registry is unavailable.
    "CKV_K8S_15": "Image Pull Policy should be Always",
    # 1000 is triton-server in NVIDIA's image and owns its files.
    "CKV_K8S_40": "Containers should run as a high UID to avoid host conflict",
    # The user builds the image and may set image.digest.
    "CKV_K8S_43": "Image should use digest",
}
# Tools for object storage take their keys from the environment; only that init container has them.
WITH_OBJECT_STORAGE = {"CKV_K8S_35": "Prefer using secrets as files over secrets as environment variables"}


@pytest.fixture(scope="module")
def checkov() -> str:
    # In its own environment: it needs older versions of dependencies of torch and pytest.
    own = ROOT / ".venv" / "checkov" / "bin" / "checkov"
    program = str(own) if own.is_file() else shutil.which("checkov")
    if program is None:
        pytest.skip("needs checkov: make policies, or put it on PATH")
    return program


@pytest.mark.parametrize(
    "case", ["default", "everything", "cpu-image-hpa-gateway", "tensorrt-object-storage-keda-tls-ingress"]
)
def test_checkov_reports_only_the_exceptions(checkov, tmp_path, case):
    (tmp_path / "chart.yaml").write_text(yaml.safe_dump_all(render(CASES[case])))
    words = [checkov, "--directory", str(tmp_path), "--framework", "kubernetes", "--skip-download", "--output", "json"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    report = json.loads(result.stdout)
    assert report["summary"]["passed"] > 50
    assert report["summary"]["parsing_errors"] == 0
    failed = {check["check_id"]: check["check_name"] for check in report["results"]["failed_checks"]}
    assert failed == {**EXCEPTIONS, **(WITH_OBJECT_STORAGE if "object-storage" in case else {})}
