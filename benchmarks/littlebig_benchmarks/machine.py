"""The machine and the versions that a report was made with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

from littlebig_contract.version import version

_PACKAGES = ("onnxruntime", "numpy", "tritonclient", "nvidia-pytriton")


def describe(triton: str, analyzer: str | None) -> dict[str, str]:
    """Machine and versions, as printed.

    Args:
        triton: version of the server.
        analyzer: version of perf_analyzer; None where it was not used.
    """
    facts = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "littlebig": version(),
        "tritonserver": triton,
    }
    if analyzer is not None:
        facts["perf_analyzer"] = analyzer
    for package in _PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return facts


def processor(cpuinfo: str) -> str:
    """The processor's name in the text of /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _processor() -> str:
    try:
        return processor(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return platform.machine()
