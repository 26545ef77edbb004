"""`littlebig check`: build graphs with TensorRT-RTX, on any machine, to see whether TensorRT supports them."""

from pathlib import Path

import click

from littlebig_cli.build_progress import BuildProgress
from littlebig_cli.failures import report_failures
from littlebig_export.checking import COMPUTE_CAPABILITIES, check_pair, check_repository, describe
from littlebig_export.engine_build import Profile
from littlebig_export.errors import ExportError
from littlebig_export.pair import load_pair, override_weights


@click.command(epilog="Example:  littlebig check --pair efficientvit --random-weights")
@click.option("--repository", type=click.Path(path_type=Path), help="Check the graphs of this model repository.")
@click.option("--pair", "pair_name", metavar="NAME|FILE.toml", help="Export a pair's graphs and check them.")
@click.option("--random-weights", is_flag=True, help="With --pair: use random weights, without a hub.")
@click.option(
    "--precision",
    metavar="[STAGE=]PRECISION,...",
    help="With --pair: precision of the backbones: fp16, bf16, fp32, int8 or little=int8.  [default: fp16]",
)
@click.option("--profile", metavar="MIN:OPT:MAX", help="Batch sizes of the engine.  [default: up to max_batch_size]")
@click.option(
    "--compute-capability",
    type=click.Choice(COMPUTE_CAPABILITIES),
    default="8.9",
    help="Compute capability of the GPU to build for; this machine needs no GPU.",
)
@report_failures(ExportError)
def command(
    repository: Path | None,
    pair_name: str | None,
    random_weights: bool,
    precision: str | None,
    profile: str | None,
    compute_capability: str,
) -> None:
    """Parse and build each graph with TensorRT-RTX, on a machine that needs no GPU.

    Reports the nodes that TensorRT does not support, and the engines' inputs, outputs and sizes. The engines are thrown
    away: Triton runs those of 'littlebig build'.
    """
    if (repository is None) == (pair_name is None):
        raise click.UsageError("give one of --repository and --pair")
    if repository and (random_weights or precision):
        raise click.UsageError("--random-weights and --precision go with --pair; a repository's graphs have theirs")
    batches = Profile.parse(profile) if profile else None
    with BuildProgress() as progress:
        if repository:
            results = check_repository(
                repository, compute_capability=compute_capability, profile=batches, progress=progress
            )
        else:
            results = check_pair(
                override_weights(load_pair(str(pair_name)), None, None, random=random_weights),
                precision or "fp16",
                compute_capability=compute_capability,
                profile=batches,
                report=lambda line: click.echo(line, err=True),
                progress=progress,
            )
        for checked in results:
            for line in describe(checked):
                click.echo(line)
