"""Every helm command of the documentation and of the files of values renders valid objects, also as plain manifests."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.chart.helm import CHART, LOADER, NEEDED, ROOT, find_helm, merged
from tests.unit.chart.matrix import CALIBRATION, PRODUCTION
from tests.unit.chart.test_chart_renders import VERSIONS, validate
from tests.unit.chart.test_pools import CLIENTS

PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(CHART.glob("values-*.yaml"))]
REMOTE = ROOT / "docs" / "remote.md"


def commands() -> Iterator[object]:
    """The commands, without the prefixes of comments and with their continued lines joined."""
    for page in PAGES:
        text = re.sub(r" *\\\n[# ]*", " ", page.read_text())
        for number, words in enumerate(re.findall(r"^(?:# +)?helm ((?:install|upgrade|template) .*)$", text, re.M)):
            yield pytest.param(words, id=f"{page.name}-{number}")


def rendered(words: list[str], folder: Path) -> str:
    """What helm sends to the cluster, or prints for kubectl."""
    (folder / "deploy").symlink_to(ROOT / "deploy")
    helm = find_helm()
    assert helm is not None
    result = subprocess.run([helm, "template", *words], capture_output=True, text=True, check=False, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def check(text: str) -> None:
    manifests = [manifest for manifest in yaml.load_all(text, Loader=LOADER) if manifest]
    assert "Deployment" in [manifest["kind"] for manifest in manifests]
    for manifest in manifests:
        # kubectl knows no hooks, and no namespace but the one that is written.
        assert "helm.sh/hook" not in manifest["metadata"].get("annotations", {})
        assert manifest["metadata"]["namespace"]
        validate(manifest, VERSIONS[-1])


@pytest.mark.parametrize("command", list(commands()))
def test_it_renders_valid_objects(command, tmp_path):
    (tmp_path / "production.yaml").write_text(yaml.safe_dump(merged(NEEDED, PRODUCTION)))
    for name in ("calibration.json", "new.json"):
        (tmp_path / name).write_text(CALIBRATION)
    _, *words = shlex.split(command.partition(" > ")[0])
    words = [word for word in words if word not in ("--create-namespace", "--reuse-values")]
    check(rendered(words, tmp_path))


def test_the_documented_pools_render_valid_objects(tmp_path):
    (pools,) = [text for text in re.findall(r"```yaml\n(.*?)```", REMOTE.read_text(), re.S) if "pools:" in text]
    values = merged(NEEDED, CLIENTS, yaml.safe_load(pools))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    check(rendered(["littlebig", "deploy/helm/littlebig", "--namespace=vision", "--values=values.yaml"], tmp_path))
