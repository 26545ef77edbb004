"""Tries, on any machine, whether TensorRT takes a pair's graphs: a real parse and build, ahead of time, without a GPU.

TensorRT-RTX has TensorRT's parser and builder API and builds for a GPU that is not there. Its plans are thrown away:
Triton's backend cannot load them.
"""

from __future__ import annotations

import ctypes
import gc
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from littlebig_contract.stages import stages_computed_in
from littlebig_export.config_pbtxt import read_config, reference_repository
from littlebig_export.engine_build import BuildSettings, Plan, Profile, build_plan
from littlebig_export.engines import GRAPH
from littlebig_export.errors import EngineError
from littlebig_export.provenance import read_provenance
from littlebig_export.tensorrt_api import Progress, load_tensorrt_rtx

if TYPE_CHECKING:
    from littlebig_export.pair import Pair

# GPUs that TensorRT-RTX builds for: Turing, Ampere, Ada, Blackwell.
COMPUTE_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0")


@dataclass(frozen=True)
class Checked:
    """A stage that TensorRT takes.

    Attributes:
        stage: `little` or `big`.
        precision: of its backbone.
        nodes_kept_in_fp32: how many of them.
        inputs: `name TYPE [shape]` of each of the engine's.
        outputs: likewise.
        plan_bytes: size of the engine.
        seconds: that parsing and building took.
        profile: smallest:best:largest batch.
    """

    stage: str
    precision: str
    nodes_kept_in_fp32: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    plan_bytes: int
    seconds: float
    profile: str


def check_repository(
    repository: Path,
    *,
    compute_capability: str = "8.9",
    profile: Profile | None = None,
    progress: Progress | None = None,
) -> Iterator[Checked]:
    """Check the graphs of a repository that an export wrote, one stage at a time.

    Raises:
        EngineError: if TensorRT-RTX is not installed, or does not take a graph.
        RepositoryError: if an export did not write the folder.
    """
    provenance = read_provenance(repository)
    facts = provenance.get("precision", {})
    trt = load_tensorrt_rtx()
    for stage in stages_computed_in(provenance):
        graph = repository / stage / "1" / GRAPH
        if not graph.is_file():
            raise EngineError(f"'{graph}' is missing: export the repository again")
        served = int(read_config(repository / stage / "config.pbtxt").message.max_batch_size)
        plan = _build(trt, graph, profile or Profile.up_to(served), compute_capability, progress)
        lowered = facts.get("stages", {}).get(stage, {})
        kept = lowered.get("kept_in_fp32", {})
        precision = lowered.get("precision", facts.get("name", "fp32"))
        yield _checked(stage, precision, len(kept), plan, profile or Profile.up_to(served))


def check_pair(
    pair: Pair,
    precision: str,
    *,
    compute_capability: str = "8.9",
    profile: Profile | None = None,
    report: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> Iterator[Checked]:
    """Make a pair's graphs as an export would, and check them, one stage at a time; nothing is kept.

    Raises:
        EngineError: if TensorRT-RTX is not installed, or does not take a graph.
        ExportError: if the pair cannot be exported.
    """
    trt = load_tensorrt_rtx()
    # torch and timm are needed from here on, and not to check a repository.
    from littlebig_export.class_names import check_same_classes  # noqa: PLC0415
    from littlebig_export.classifiers import prepare  # noqa: PLC0415
    from littlebig_export.pictures import crops, photographs  # noqa: PLC0415
    from littlebig_export.precision_effect import lower  # noqa: PLC0415
    from littlebig_export.quantising import Shown, quantise  # noqa: PLC0415
    from littlebig_export.stage_graph import stage_graph  # noqa: PLC0415
    from littlebig_export.stage_precisions import stage_precisions  # noqa: PLC0415
    from littlebig_export.weight_files import save_graph  # noqa: PLC0415

    precisions = stage_precisions(precision, "tensorrt")
    canonical, big = None, None
    for stage, model in (("big", pair.big), ("little", pair.little)):
        classifier = prepare(model)
        report(f"{stage}: {classifier.name}, weights {classifier.weights_sha256[:12]}")
        canonical = canonical or classifier.backbone.preprocessing
        big = big or (classifier.name, classifier.classes)
        check_same_classes((classifier.name, classifier.classes), big)
        if precisions[stage] == "int8":
            lowered, _ = quantise(classifier, canonical, "tensorrt", model.fp32, Shown(crops()), ("confidence", None))
        else:
            pictures = [] if classifier.source == "random" else photographs()
            lowered = lower(classifier, precisions[stage], model.fp32, pictures)
        graph = stage_graph(lowered.backbone, canonical)
        kept = len(lowered.kept)
        del classifier, lowered
        batches = profile or Profile.up_to(_reference_batch(stage))
        with tempfile.TemporaryDirectory(prefix="littlebig-check-") as folder:
            path = Path(folder) / GRAPH
            save_graph(graph, path)
            del graph
            _release_memory()
            plan = _build(trt, path, batches, compute_capability, progress, called=stage)
        yield _checked(stage, precisions[stage], kept, plan, batches)


def describe(checked: Checked) -> list[str]:
    """Lines for people."""
    return [
        f"{checked.stage}: TensorRT takes the graph, {checked.precision} with {checked.nodes_kept_in_fp32} nodes kept "
        f"in fp32; engine of {checked.plan_bytes / 1e6:.1f} MB for batches {checked.profile} "
        f"in {checked.seconds:.1f} s",
        *(f"  input   {tensor}" for tensor in checked.inputs),
        *(f"  output  {tensor}" for tensor in checked.outputs),
    ]


def _build(
    trt: Any,
    graph: Path,
    profile: Profile,
    compute_capability: str,
    progress: Progress | None,
    called: str | None = None,
) -> Plan:
    settings = BuildSettings(profile=profile, compute_capability=compute_capability)
    return build_plan(trt, graph, settings, progress=progress, called=called)


def _release_memory() -> None:
    """Give what the export has freed back to the system: the C library keeps it, and the build needs as much again."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc alone
        libc.malloc_trim(0)


def _checked(stage: str, precision: str, kept: int, plan: Plan, profile: Profile) -> Checked:
    return Checked(stage, precision, kept, plan.inputs, plan.outputs, len(plan.data), plan.seconds, str(profile))


def _reference_batch(stage: str) -> int:
    return int(read_config(reference_repository() / stage / "config.pbtxt").message.max_batch_size)
