"""`python -m experiments.stages_on_pytorch`: a repository like an exported one, with its stages on PyTorch."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.stages_on_pytorch.writing import write
from littlebig_benchmarks.errors import BenchmarkError
from littlebig_export.errors import ExportError
from littlebig_export.pair import load_pair, override_weights


@click.command()
@click.option("--pair", default="efficientnet-lite", show_default=True, help="A shipped pair or a file.")
@click.option(
    "--repository", type=click.Path(exists=True, path_type=Path), required=True, help="Repository of the pair."
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to write; must not exist.")
@click.option("--little-weights", type=click.Path(path_type=Path), help="State dict, as for export.")
@click.option("--big-weights", type=click.Path(path_type=Path), help="State dict, as for export.")
@click.option("--random-weights", is_flag=True, help="Use random weights, to measure times.")
def main(
    pair: str,
    repository: Path,
    output: Path,
    little_weights: Path | None,
    big_weights: Path | None,
    random_weights: bool,
) -> None:
    """Write a repository like REPOSITORY whose stages run on PyTorch, for a GPU without TensorRT."""
    try:
        served = override_weights(load_pair(pair), little_weights, big_weights, random=random_weights)
        write(served, repository, output, lambda line: click.echo(line, err=True))
    except (BenchmarkError, ExportError) as reason:
        raise SystemExit(f"littlebig: {reason}") from None
    click.echo(f"wrote {output}", err=True)


if __name__ == "__main__":
    main()
