"""Makes a repository's plans fit the machine that serves it: builds what is missing, leaves what fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littlebig_contract.stages import stages_computed_in
from littlebig_export.config_pbtxt import read_config
from littlebig_export.engine_build import BuildSettings, Profile, build_plan, timing_cache_file
from littlebig_export.engine_cache import keep_plan, take_plan
from littlebig_export.engine_key import EngineKey, asked_differently, hash_graph, made_elsewhere, read_key, write_key
from littlebig_export.errors import EngineError
from littlebig_export.files import write_atomically
from littlebig_export.gpu import Gpu, find_gpus
from littlebig_export.provenance import read_provenance
from littlebig_export.tensorrt_api import Progress, library_version, load_tensorrt

GRAPH, PLAN = "model.onnx", "model.plan"


@dataclass(frozen=True)
class BuildOptions:
    """What the user asked for; None keeps what the plan that is there was built with, or else the default.

    Attributes:
        profile: batch sizes; by default from 1 to the stage's `max_batch_size`.
        hardware_compatible: for any GPU from Ampere on; off by default.
        version_compatible: for later TensorRT versions of the same major one; off by default.
        workspace_mib: GPU memory that a kernel may use for itself, in MiB; all of it by default.
        force: build even what fits, and replace what was made elsewhere.
        cache: folder with plans that were built before, by any machine; none by default.
    """

    profile: Profile | None = None
    hardware_compatible: bool | None = None
    version_compatible: bool | None = None
    workspace_mib: int | None = None
    force: bool = False
    cache: Path | None = None


def ensure_engines(
    repository: Path,
    options: BuildOptions | None = None,
    *,
    report: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
    tensorrt: Any = None,
    version: str | None = None,
    gpus: list[Gpu] | None = None,
) -> tuple[str, ...]:
    """Build the plans that a repository lacks for this machine.

    Does nothing where all plans fit, and nothing for the cpu target, which has none. Interrupted, it leaves each
    stage with its old plan or its new one, whole.

    Args:
        repository: the folder that an export wrote.
        options: how to build.
        report: called with one line of progress per stage.
        progress: receives the progress of each build.
        tensorrt: the module; the installed one by default.
        version: of TensorRT's library; asked of the library by default.
        gpus: this machine's; asked of the driver by default.

    Returns:
        Names of the stages that were built.

    Raises:
        EngineError: if there is no TensorRT or no GPU, the GPUs differ, a graph cannot be built, a profile is smaller
            than `max_batch_size`, or a plan was made elsewhere and `force` is not set.
        RepositoryError: if an export did not write the folder.
    """
    options = options or BuildOptions()
    provenance = read_provenance(repository)
    if provenance.get("target") != "tensorrt":
        report(f"target {provenance.get('target')} has no engines to build")
        return ()
    trt = tensorrt or load_tensorrt()
    version = version or library_version(trt)
    gpu = _one_kind(gpus if gpus is not None else find_gpus(), options)
    precision = provenance.get("precision", {}).get("name", "fp32")
    stages = stages_computed_in(provenance)
    jobs = [_job(repository, stage, options, version, gpu, precision) for stage in stages]
    # All refusals come before the first build, which may take minutes.
    built = []
    for stage, plan, key, reason in jobs:
        if not reason:
            report(f"{stage}: the plan fits")
            continue
        if options.cache and not options.force and take_plan(options.cache, key, plan):
            report(f"{stage}: the plan is from the cache")
            continue
        report(f"{stage}: building, {reason}")
        settings = BuildSettings(
            profile=Profile.parse(key.profile),
            workspace_mib=options.workspace_mib,
            hardware_compatible=key.hardware_compatible,
            version_compatible=key.version_compatible,
        )
        timings = timing_cache_file(version, gpu.name)
        made = build_plan(trt, plan.with_name(GRAPH), settings, timing_cache=timings, progress=progress)
        write_atomically(plan, made.data)
        write_key(plan, key)
        if options.cache:
            keep_plan(options.cache, key, made.data)
        report(f"{stage}: {len(made.data) / 1e6:.0f} MB in {made.seconds:.0f} s")
        built.append(stage)
    return tuple(built)


def _one_kind(gpus: list[Gpu], options: BuildOptions) -> Gpu:
    kinds = sorted({gpu.name for gpu in gpus})
    if len(kinds) > 1 and not options.hardware_compatible:
        raise EngineError(
            f"this machine has different GPUs ({', '.join(kinds)}) and a plan fits one kind: choose with "
            "CUDA_VISIBLE_DEVICES, or build with --hardware-compatible"
        )
    return gpus[0]


def _job(
    repository: Path, stage: str, options: BuildOptions, version: str, gpu: Gpu, precision: str
) -> tuple[str, Path, EngineKey, str]:
    """What a stage's plan has to be, and why it must be built (empty: it need not)."""
    plan = repository / stage / "1" / PLAN
    graph = plan.with_name(GRAPH)
    if not graph.is_file():
        raise EngineError(f"'{graph}' is missing: export the repository again")
    there = read_key(plan)
    served = int(read_config(repository / stage / "config.pbtxt").message.max_batch_size)
    key = EngineKey(
        graph_sha256=hash_graph(graph),
        precision=precision,
        profile=str(_profile(stage, options, there, served)),
        hardware_compatible=_chosen(options.hardware_compatible, there.hardware_compatible if there else False),
        version_compatible=_chosen(options.version_compatible, there.version_compatible if there else False),
        tensorrt=version,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
    )
    if there is None:
        return stage, plan, key, "there is a plan of unknown origin" if plan.exists() else "there is no plan"
    elsewhere = made_elsewhere(there, key)
    if elsewhere and not options.force:
        raise EngineError(f"'{plan}' was made elsewhere: {elsewhere}; replace it with 'littlebig build --force'")
    changed = asked_differently(there, key)
    return stage, plan, key, elsewhere or changed or ("--force" if options.force else "")


def _profile(stage: str, options: BuildOptions, there: EngineKey | None, served: int) -> Profile:
    if options.profile:
        if options.profile.largest < served:
            raise EngineError(
                f"profile {options.profile} is smaller than max_batch_size {served} of '{stage}': Triton would send "
                "batches that the engine does not take"
            )
        return options.profile
    known = Profile.parse(there.profile) if there else None
    return known if known and known.largest == served else Profile.up_to(served)


def _chosen(asked: bool | None, known: bool) -> bool:
    return known if asked is None else asked
