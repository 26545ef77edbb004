"""`littlebig demo`: export, serve, classify and compare, on photographs that come with scikit-image.

On a CPU it also compares a cascade whose little is INT8, with a calibration of its own.
"""

import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import tritonclient.grpc
from rich.table import Table

from littlebig_cli.failures import report_failures
from littlebig_cli.terminal import print_table
from littlebig_client import Client, ClientError, Stage
from littlebig_contract.pictures import sample_photographs
from littlebig_export.applying import CALIBRATION
from littlebig_export.errors import ExportError
from littlebig_export.provenance import is_current, read_provenance
from littlebig_export.targets import best_target
from littlebig_server import ServerError, TritonServer

PAIR = "efficientnet-lite"
PHOTOGRAPHS = ("coffee.png", "camera.png", "motorcycle_right.png", "motorcycle_left.png", "chelsea.png")
# A round takes a few seconds on two cores. Cascade and big alternate, so that both see the same machine load.
IMAGES_PER_ROUND, ROUNDS, CONCURRENCY = 100, 5, 8
_BIG = "big alone"


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
    int8 = repository.with_name(f"{repository.name}-int8")
    _export(repository, int8 if target == "cpu" else None, target)
    with ExitStack() as running:
        client, url = _serve(repository, running)
        click.echo()
        print_table(_answers(client))
        cascades = {"cascade": client}
        if target == "cpu" and is_calibrated_int8(read_provenance(int8)):
            cascades["with little in INT8"] = _serve(int8, running)[0]
        click.echo(_comparison(cascades, _canonical_images(url)))
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


def is_calibrated_int8(provenance: Mapping[str, Any]) -> bool:
    """Whether little is INT8, because that is faster here, and the calibration is of it."""
    little = provenance["precision"]["stages"].get("little", {})
    return bool(little.get("precision") == "int8" and provenance["threshold"]["source"] == CALIBRATION)


def _export(repository: Path, int8: Path | None, target: str) -> None:
    """Export what is not current: the default pair, and the same with little in INT8 if there is a folder for it."""
    wanted = {repository: None} if int8 is None else {repository: None, int8: "int8"}
    exported = None
    for folder, precision in wanted.items():
        if is_current(folder, PAIR, target):
            click.echo(f"model repository: {folder} (already exported)")
            continue
        # torch takes seconds to import, and a second demo does not need it.
        from littlebig_export.exporting import export_pair  # noqa: PLC0415
        from littlebig_export.pair import load_pair  # noqa: PLC0415

        exported = export_pair(
            load_pair(PAIR), target, folder, precision=precision, earlier=exported, report=click.echo
        )


def _serve(repository: Path, running: ExitStack) -> tuple[Client, str]:
    """Serve a repository until the stack is closed: a client, and the server's gRPC address."""
    server = running.enter_context(TritonServer(repository))
    click.echo(f"tritonserver is ready with {repository}: gRPC {server.grpc_url}")
    client = running.enter_context(Client(server.grpc_url))
    # The first request opens the connection, which is not part of the times below.
    client.classify(sample_photographs(PHOTOGRAPHS)[0])
    return client, server.grpc_url


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


def _comparison(cascades: Mapping[str, Client], images: Sequence[npt.NDArray[np.uint8]]) -> str:
    """Throughput of each cascade and of big alone, which take turns over the same images.

    Args:
        cascades: name -> client of its server; the first one's big is asked alone.
        images: canonical images.
    """
    load = [images[index % len(images)] for index in range(IMAGES_PER_ROUND)]
    throughput: dict[str, list[float]] = {name: [] for name in [*cascades, _BIG]}
    escalated = {}
    for _ in range(ROUNDS):
        for name, measured in throughput.items():
            client = cascades.get(name, next(iter(cascades.values())))
            policy = "big" if name == _BIG else "cascade"
            started = time.perf_counter()
            stages = []
            for answer in client.classify_many(load, policy=policy, top_k=1, concurrency=CONCURRENCY):
                if isinstance(answer, ClientError):
                    raise answer
                stages.append(answer.stage)
            measured.append(len(load) / (time.perf_counter() - started))
            escalated[name] = stages.count(Stage.BIG) / len(stages)
    width = max(map(len, throughput))
    lines = [f"\n{ROUNDS} rounds of {len(load)} images each, concurrency {CONCURRENCY}:"]
    for name, measured in throughput.items():
        line = f"  {name:<{width}}  {_spread(measured)} images/s"
        if name != _BIG:
            ratios = [ours / big for ours, big in zip(measured, throughput[_BIG], strict=True)]
            line += f", {_spread(ratios, 2)} times big alone, {escalated[name]:.0%} escalated"
        lines.append(line)
    return "\n".join([*lines, ""])


def _spread(values: Sequence[float], digits: int = 0) -> str:
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"
