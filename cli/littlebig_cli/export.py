"""`littlebig export`: export a pair as a model repository."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from littlebig_cli.build_progress import BuildProgress
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.labels_option import labels_option
from littlebig_cli.numbers import NumberRange
from littlebig_contract.stages import STAGES
from littlebig_export.decoding import DECODERS, PILLOW
from littlebig_export.engines import ensure_engines
from littlebig_export.errors import ExportError, NotHereError
from littlebig_export.pair import load_pair, override_weights, shipped_pairs
from littlebig_export.pictures import PictureFiles, pictures_in
from littlebig_export.targets import TARGETS, best_target

STATE_DICT = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="Example:  littlebig export --pair efficientnet-lite --target cpu --output build/model_repository"
)
@click.option(
    "--pair",
    "pair_name",
    default="efficientnet-lite",
    metavar="NAME|FILE.toml",
    help=f"A shipped pair ({', '.join(shipped_pairs())}) or your own (docs/pairs.md).",
)
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    help="What the stages run on: ONNX Runtime in Python (cpu, cuda), the ONNX Runtime of NVIDIA's container "
    "(onnxruntime), or TensorRT.  [default: cuda where a GPU and onnxruntime-gpu are found, else cpu]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    help="Folder of the model repository; an earlier export there is replaced.",
)
@click.option(
    "--threshold",
    type=NumberRange(0.0, 1.0),
    help="Escalate below this confidence.  [default: from the pair's calibration, or its threshold]",
)
@click.option("--little-weights", type=STATE_DICT, metavar="FILE", help="State dict for little instead of the pair's.")
@click.option("--big-weights", type=STATE_DICT, metavar="FILE", help="State dict for big instead of the pair's.")
@click.option("--random-weights", is_flag=True, help="Random weights, without a hub: for load tests and build checks.")
@click.option(
    "--precision",
    metavar="[STAGE=]PRECISION,...",
    help="Precision of the backbones: fp32 or int8 for cpu, fp16 or fp32 for cuda and onnxruntime, any of "
    "these or bf16 for tensorrt. int8 alone means little=int8. Resampling, softmax and confidence stay in fp32.  "
    "[default: fp32 for cpu, else fp16]",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder of your own pictures. Measures on them how often little's labels are those of the model's own "
    "transform, and the effect of fp16, bf16 or int8; int8 takes its ranges from them.  "
    "[default: crops of sample photographs, and the pair's ranges if it has any]",
)
@click.option(
    "--decoder",
    type=click.Choice(DECODERS),
    default=PILLOW,
    help="What preprocess decodes JPEG with; nvimagecodec does so on the GPU (docs/preprocess.md).",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    help="Labelled pictures instead of --pictures, as for `littlebig predict`: a folder with one folder per class; or "
    "a CSV of file,label; or, with --labels, one folder. Says how many answers are right in fp32 and in --precision.",
)
@labels_option
@click.option("--int8-anyway", is_flag=True, help="Serve int8 even if it is not faster here: for another CPU.")
@click.option("--cores", type=click.IntRange(min=1), help="Cores of the cpu target.  [default: those found]")
@click.option("--only", type=click.Choice(STAGES), help="Only this stage, for other servers to call (docs/remote.md).")
@click.option("--big-url", metavar="HOST:PORT", help="Leave big to the server at this gRPC endpoint (docs/remote.md).")
@click.option("--little-url", metavar="HOST:PORT", help="Leave little to the server at this gRPC endpoint.")
@click.option(
    "--connection",
    metavar="NAME=VALUE",
    multiple=True,
    help="Parameter of that connection, such as tls_ca=/tls/ca.crt or token_file=/run/token.",
)
@report_failures(ExportError)
def command(
    pair_name: str,
    target: str | None,
    output: Path,
    threshold: float | None,
    little_weights: Path | None,
    big_weights: Path | None,
    random_weights: bool,
    precision: str | None,
    pictures: Path | None,
    decoder: str,
    data: Path | None,
    labels: Path | None,
    int8_anyway: bool,
    cores: int | None,
    only: str | None,
    big_url: str | None,
    little_url: str | None,
    connection: tuple[str, ...],
) -> None:
    """Export a pair as a model repository that tritonserver serves unchanged.

    Each model becomes one ONNX graph, from the canonical uint8 image to label, confidence, margin and probabilities.
    Both graphs are compared with their models on photographs before anything is written.
    """
    # torch takes seconds to import, and the help does not need it.
    from littlebig_export.exporting import export_pair  # noqa: PLC0415

    if data is not None and pictures is not None:
        raise click.UsageError("Give --pictures or --data, not both.")
    if labels is not None and data is None:
        raise click.UsageError("--labels labels the pictures of --data: give --data FOLDER too.")
    labelled = _labelled(data, labels) if data else None
    target = target or best_target()
    pair = override_weights(load_pair(pair_name), little_weights, big_weights, random=random_weights)
    export_pair(
        pair,
        target,
        output,
        threshold=threshold,
        cores=cores,
        precision=precision,
        pictures=labelled[0] if labelled else pictures_in(pictures) if pictures else (),
        labels=labelled[1] if labelled else None,
        int8_anyway=int8_anyway,
        remote=_remote({"little": little_url, "big": big_url}, connection),
        only=only,
        decoder=decoder,
        report=lambda line: click.echo(line, err=True),
    )
    if target == "tensorrt":
        _build_where_possible(output)
    click.echo(os.fsencode(output))  # exactly, whatever its encoding


def _labelled(data: Path, labels: Path | None) -> tuple[PictureFiles, Callable[[int, Sequence[str]], Sequence[int]]]:
    """Labelled pictures, and what says their classes once the models' are known.

    Raises:
        Failure: if they cannot be listed or their classes are not the models'.
    """
    from littlebig_calibration.errors import CalibrationError  # noqa: PLC0415
    from littlebig_calibration.labelled import find_labelled_images  # noqa: PLC0415

    try:
        images = find_labelled_images(data, labels)
    except CalibrationError as reason:
        raise Failure(str(reason)) from reason

    def classes(number: int, names: Sequence[str]) -> Sequence[int]:
        try:
            return images.with_classes(number, names).labels
        except CalibrationError as reason:
            raise Failure(str(reason)) from reason

    return PictureFiles([images.folder / file for file in images.files]), classes


def _remote(urls: Mapping[str, str | None], connection: Sequence[str]) -> dict[str, dict[str, str]]:
    """Stage -> parameters of its connection."""
    pairs = [pair.partition("=") for pair in connection]
    for name, equals, _ in pairs:
        if not equals or name == "url":
            raise click.UsageError(f"--connection takes NAME=VALUE, such as tls=true, not '{name}{equals}'")
    parameters = {name: value for name, _, value in pairs}
    remote = {stage: {"url": url, **parameters} for stage, url in urls.items() if url is not None}
    if connection and not remote:
        raise click.UsageError("--connection says how another server is reached: give --big-url or --little-url too")
    return remote


def _build_where_possible(repository: Path) -> None:
    """Build the engines if this machine can; otherwise say how to build them on the GPU host."""
    try:
        with BuildProgress() as progress:
            ensure_engines(repository, report=lambda line: click.echo(line, err=True), progress=progress)
    except NotHereError as reason:
        click.echo(f"no engines yet: {reason}", err=True)
        click.echo(f"on the GPU host: littlebig build --repository {repository}", err=True)
