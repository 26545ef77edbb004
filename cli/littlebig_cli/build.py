"""`littlebig build`: build a repository's engines, on the machine that serves it."""

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
    help="Model repository, from 'littlebig export --target tensorrt'.",
)
@click.option(
    "--profile",
    metavar="MIN:OPT:MAX",
    help="Smallest and largest batch that the engine takes, and between them the one its kernels are chosen for.  "
    "[default: 1, a quarter of max_batch_size, max_batch_size]",
)
@click.option(
    "--workspace",
    type=click.IntRange(min=1),
    metavar="MIB",
    help="Limit on the scratch memory of a kernel, in MiB.  [default: no limit]",
)
@click.option(
    "--hardware-compatible/--no-hardware-compatible",
    default=None,
    help="Build for all GPUs from Ampere on. Slower: fewer kernels to choose from, with 48 KiB of shared memory and "
    "without cuBLAS.  [default: as the present plan, or no]",
)
@click.option(
    "--version-compatible/--no-version-compatible",
    default=None,
    help="Build for later TensorRT versions with the same major number. Slower (the lean runtime's operators "
    "alone) and larger (each plan carries that runtime); start Triton with "
    "--backend-config=tensorrt,version-compatible=true.  [default: as the present plan, or no]",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of plans: take those that fit this machine, and keep new ones there.  [default: none]",
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
    """Build the TensorRT engines that a repository lacks for this machine; plans that fit are kept.

    A plan fits one graph, precision and profile on one kind of GPU with one version of TensorRT; a file beside it
    records them. A plan from another machine is refused, because that machine may serve it; --force replaces it.
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
        ensure_engines(repository, options, report=lambda line: click.echo(line, err=True), progress=progress)
    click.echo(repository)
