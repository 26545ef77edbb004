"""`littlebig build`: the engines of a repository, on the machine that will serve it."""

from __future__ import annotations

from pathlib import Path

import click

from littlebig_cli.build_progress import BuildProgress
from littlebig_cli.failures import report_failures
from littlebig_export.engine_build import Profile
from littlebig_export.engines import BuildOptions, ensure_engines
from littlebig_export.errors import ExportError


@click.command(epilog="Example:  littlebig build --repository build/model_repository")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    show_default=True,
    help="What 'littlebig export --target tensorrt' wrote.",
)
@click.option(
    "--profile",
    metavar="MIN:OPT:MAX",
    help="Batch sizes that the engine takes, and the one its kernels are chosen for.  "
    "[default: 1, a quarter of max_batch_size, max_batch_size]",
)
@click.option(
    "--workspace",
    type=click.IntRange(min=1),
    metavar="MIB",
    help="GPU memory that one kernel may use for itself.  [default: all of it]",
)
@click.option(
    "--hardware-compatible/--no-hardware-compatible",
    default=None,
    help="Engines for any GPU from Ampere on. Costs speed: fewer kernels to choose from, with 48 KiB of shared memory "
    "and without cuBLAS.  [default: as the plan that is there, or no]",
)
@click.option(
    "--version-compatible/--no-version-compatible",
    default=None,
    help="Engines that later TensorRT versions of the same major one load. Costs speed (the lean runtime's operators "
    "alone) and room (each plan carries that runtime), and Triton must be started with "
    "--backend-config=tensorrt,version-compatible=true.  [default: as the plan that is there, or no]",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take plans from this folder where it has them for this machine, and put new ones there.  [default: none]",
)
@click.option("--force", is_flag=True, help="Build even what fits, and replace plans that were made elsewhere.")
@report_failures(ExportError)
def command(
    repository: Path,
    profile: str | None,
    workspace: int | None,
    hardware_compatible: bool | None,
    version_compatible: bool | None,
    cache: Path | None,
    force: bool,
) -> None:
    """Build the TensorRT engines that a repository lacks for this machine, and do nothing where all of them fit.

    A plan fits one graph, precision and profile on one kind of GPU with one version of TensorRT; a file beside it says
    which. A plan made elsewhere is refused, because another machine may be serving it; --force replaces it.
    """
    options = BuildOptions(
        profile=Profile.parse(profile) if profile else None,
        hardware_compatible=hardware_compatible,
        version_compatible=version_compatible,
        workspace_mib=workspace,
        force=force,
        cache=cache,
    )
    with BuildProgress() as progress:
        ensure_engines(repository, options, tell=lambda line: click.echo(line, err=True), progress=progress)
    click.echo(repository)
