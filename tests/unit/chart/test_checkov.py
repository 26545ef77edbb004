"""checkov's policies for Kubernetes on the rendered chart, with each exception argued."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml

from tests.unit.chart.helm import ROOT, render
from tests.unit.chart.matrix import CASES

EXCEPTIONS = {
    # Throttling makes latencies jump; the request gives a share already.
    "CKV_K8S_11": "CPU limits should be set",
    # A tag that never moves needs fetching once, and a node must start a pod while the registry is away.
    "CKV_K8S_15": "Image Pull Policy should be Always",
    # 1000 is triton-server in NVIDIA's image, and owns what the image brings.
    "CKV_K8S_40": "Containers should run as a high UID to avoid host conflict",
    # The image is the user's, and so is its digest: image.digest.
    "CKV_K8S_43": "Image should use digest",
}
# The tools that fetch from object storage take their keys from the environment; only that init container has them.
WITH_OBJECT_STORAGE = {"CKV_K8S_35": "Prefer using secrets as files over secrets as environment variables"}


@pytest.fixture(scope="module")
def checkov() -> str:
    # In an environment of its own: it wants older versions of what torch and pytest use.
    own = ROOT / ".venv" / "checkov" / "bin" / "checkov"
    found = str(own) if own.is_file() else shutil.which("checkov")
    if found is None:
        pytest.skip("needs checkov: make policies, or put it on PATH")
    return found


@pytest.mark.parametrize(
    "case", ["default", "everything", "cpu-image-hpa-gateway", "tensorrt-object-storage-keda-tls-ingress"]
)
def test_nothing_is_found_but_what_is_meant_so(checkov, tmp_path, case):
    (tmp_path / "chart.yaml").write_text(yaml.safe_dump_all(render(CASES[case])))
    words = [checkov, "--directory", str(tmp_path), "--framework", "kubernetes", "--skip-download", "--output", "json"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    report = json.loads(result.stdout)
    assert report["summary"]["passed"] > 50
    assert report["summary"]["parsing_errors"] == 0
    found = {one["check_id"]: one["check_name"] for one in report["results"]["failed_checks"]}
    assert found == {**EXCEPTIONS, **(WITH_OBJECT_STORAGE if "object-storage" in case else {})}
