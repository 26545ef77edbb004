"""`littlebig demo`: export, serve, classify and compare, on photographs that come with scikit-image."""

import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import tritonclient.grpc
from rich.table import Table

from littlebig_cli.failures import report_failures
from littlebig_cli.terminal import print_table
from littlebig_client import Client, ClientError, Stage
from littlebig_contract.pictures import sample_photographs
from littlebig_export.errors import ExportError
from littlebig_export.provenance import is_current
from littlebig_export.targets import best_target
from littlebig_server import ServerError, TritonServer

PAIR = "efficientnet-lite"
PHOTOGRAPHS = ("coffee.png", "camera.png", "motorcycle_right.png", "motorcycle_left.png", "chelsea.png")
# A round takes a few seconds on two cores. Cascade and big alternate, so that both see the same machine load.
IMAGES_PER_ROUND, ROUNDS, CONCURRENCY = 100, 5, 8


@click.command(epilog="Example:  littlebig demo")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    help="Folder of the exported default pair; exported again only if it is not current.",
)
@report_failures(ExportError, ServerError, ClientError)
def command(repository: Path) -> None:
    """Export the default pair, serve it, classify photographs, compare the cascade with big alone, stop."""
    target = best_target()
    if is_current(repository, PAIR, target):
        click.echo(f"model repository: {repository} (already exported)")
    else:
        _export(repository, target)
    with TritonServer(repository) as server:
        click.echo(f"tritonserver is ready: gRPC {server.grpc_url}\n")
        with Client(server.grpc_url) as client:
            # The first request opens the connection, which is not part of the times below.
            client.classify(sample_photographs(PHOTOGRAPHS)[0])
            print_table(_answers(client))
            images = _canonical_images(server.grpc_url)
            click.echo(_comparison(client, images))
    click.echo(f"tritonserver has stopped\n\n{next_steps(repository)}")


def next_steps(repository: Path) -> str:
    """What to do now, as commands to copy: those of the Makefile where there is one."""
    default = next(option.default for option in command.params if option.name == "repository")
    rest = "" if repository == default else f" --repository {repository}"
    makes = not rest and Path("Makefile").is_file()
    # In a checkout, `make` has put the command where PATH does not look.
    littlebig = Path("littlebig" if shutil.which("littlebig") else Path(sys.executable).with_name("littlebig"))
    if littlebig.is_relative_to(Path.cwd()):
        littlebig = littlebig.relative_to(Path.cwd())
    steps = {
        "make playground" if makes else f"{littlebig} playground --serve{rest}": "try your own pictures in the browser",
        "make serve" if makes else f"{littlebig} serve{rest}": f"serve until Ctrl-C; then: {littlebig} classify FILE",
        "docs/tutorial.md": "label some pictures, and choose the threshold by them",
    }
    width = max(map(len, steps))
    return "\n".join(["Next:", *(f"  {step:<{width}}  {purpose}" for step, purpose in steps.items())])


def _export(repository: Path, target: str) -> None:
    # torch takes seconds to import, and a second demo does not need it.
    from littlebig_export.exporting import export_pair  # noqa: PLC0415
    from littlebig_export.pair import load_pair  # noqa: PLC0415

    export_pair(load_pair(PAIR), target, repository, report=click.echo)


def _answers(client: Client) -> Table:
    """Classify each photograph: answer, stage and time."""
    table = Table("photograph", "answer", "confidence", "stage", "time")
    for path in sample_photographs(PHOTOGRAPHS):
        started = time.perf_counter()
        answer = client.classify(path)
        milliseconds = (time.perf_counter() - started) * 1e3
        table.add_row(path.name, answer.name, f"{answer.confidence:.2f}", answer.stage, f"{milliseconds:.0f} ms")
    return table


def _canonical_images(url: str) -> list[npt.NDArray[np.uint8]]:
    """The photographs as canonical images, so that the comparison excludes decoding."""
    with tritonclient.grpc.InferenceServerClient(url) as triton:
        pictures = np.array([[path.read_bytes()] for path in sample_photographs(PHOTOGRAPHS)], object)
        tensor = tritonclient.grpc.InferInput("encoded_image", list(pictures.shape), "BYTES")
        tensor.set_data_from_numpy(pictures)
        return list(triton.infer("preprocess", [tensor]).as_numpy("image"))


def _comparison(client: Client, images: Sequence[npt.NDArray[np.uint8]]) -> str:
    """Throughput of the cascade and of big alone, alternating over the same images."""
    load = [images[index % len(images)] for index in range(IMAGES_PER_ROUND)]
    throughput: dict[str, list[float]] = {"cascade": [], "big": []}
    escalated = 0.0
    for _ in range(ROUNDS):
        for policy, measured in throughput.items():
            started = time.perf_counter()
            stages = []
            for answer in client.classify_many(load, policy=policy, top_k=1, concurrency=CONCURRENCY):
                if isinstance(answer, ClientError):
                    raise answer
                stages.append(answer.stage)
            measured.append(len(load) / (time.perf_counter() - started))
            if policy == "cascade":
                escalated = stages.count(Stage.BIG) / len(stages)
    ratios = [cascade / big for cascade, big in zip(throughput["cascade"], throughput["big"], strict=True)]
    return (
        f"\n{ROUNDS} rounds of {len(load)} images each, concurrency {CONCURRENCY}, {escalated:.0%} escalated:\n"
        f"  cascade    {_spread(throughput['cascade'])} images/s\n"
        f"  big alone  {_spread(throughput['big'])} images/s\n"
        f"  ratio      {_spread(ratios, 2)}\n"
    )


def _spread(values: Sequence[float], digits: int = 0) -> str:
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"
