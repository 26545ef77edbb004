"""Check and measure the cascade on this machine's GPU, and write a report.

    make gpu-check PERF_ANALYZER=path/to/perf_analyzer

For each pair: export it, serve it, compare both stages' answers with those of the same graphs on the CPU, then
`littlebig bench` of little, big, cascade, textbook gate and of JPEG files, for the first pair with both decoders.
Laid out for ten minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import tritonclient.grpc

from littlebig_cli.checkup import examine
from littlebig_client import Client
from littlebig_contract.stages import STAGES
from littlebig_export.decoding import DECODERS, NVIMAGECODEC
from littlebig_export.errors import NotHereError
from littlebig_export.gpu import find_gpus
from littlebig_export.pictures import crops
from littlebig_export.targets import TARGETS, best_target
from littlebig_server import TritonServer

HERE = Path(__file__).parent
PAIRS = ("efficientnet-lite", str(HERE / "lite0-deit3.toml"))
# Batches that fill one of the sizes with CUDA graphs, and batches that are padded.
BATCHES = (1, 3, 12)


def littlebig(*words: str) -> None:
    """Run a sub-command; its failure is ours."""
    subprocess.run([sys.executable, "-m", "littlebig_cli", *words], check=True)


def ask(url: str, stage: str, images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Labels and confidences of a served stage."""
    with tritonclient.grpc.InferenceServerClient(url) as triton:
        tensor = tritonclient.grpc.InferInput("image", images.shape, "UINT8").set_data_from_numpy(images)
        result = triton.infer(stage, [tensor], client_timeout=60)
    return result.as_numpy("label").ravel(), result.as_numpy("confidence").ravel()


def compare_stages(repository: Path) -> list[str]:
    """Serve a repository, and say how each stage's answers differ from those of its graph on the CPU."""
    lines = []
    with TritonServer(repository) as server:
        for stage in STAGES:
            session = onnxruntime.InferenceSession(
                str(repository / stage / "1/model.onnx"), providers=["CPUExecutionProvider"]
            )
            height, width, _ = session.get_inputs()[0].shape[1:]
            images = np.stack([np.asarray(one.resize((width, height))) for one in crops()[: sum(BATCHES)]])
            labels, confidences = (answer.ravel() for answer in session.run(["label", "confidence"], {"image": images}))
            batches = np.split(images, np.cumsum(BATCHES)[:-1])
            answers = [ask(server.grpc_url, stage, batch) for batch in batches]
            agree = float(np.mean(np.concatenate([answer[0] for answer in answers]) == labels))
            apart = float(np.abs(np.concatenate([answer[1] for answer in answers]) - confidences).max())
            lines.append(
                f"- {stage}: same label on {agree:.1%} of {len(images)}, confidence differs by at most {apart:.2g}"
            )
    return lines


def compare_decoders(repositories: Mapping[str, Path]) -> str:
    """Classify the same JPEG files by servers that differ in their decoder, and say how the answers differ."""
    files = []
    for number, crop in enumerate(crops()):
        buffer = io.BytesIO()
        crop.save(buffer, "JPEG", quality=70 + number % 25, subsampling=number % 3)
        files.append(buffer.getvalue())
    answers = []
    for repository in repositories.values():
        with TritonServer(repository) as server, Client(server.grpc_url) as client:
            answers.append(list(client.classify_many(files, concurrency=16)))
    labels, stages, apart = (
        np.mean([one.label == other.label for one, other in zip(*answers, strict=True)]),
        np.mean([one.stage == other.stage for one, other in zip(*answers, strict=True)]),
        max(abs(one.confidence - other.confidence) for one, other in zip(*answers, strict=True)),
    )
    return (
        f"- {' and '.join(repositories)}: same label on {labels:.1%} of {len(files)} JPEG files, same stage on "
        f"{stages:.1%}, confidence differs by at most {apart:.2g}"
    )


def check(pair: str, target: str, output: Path, bench: Callable[..., None] | None, decoders: Sequence[str]) -> str:
    """Export, compare and measure one pair; returns its part of the report, as Markdown."""
    name, begin = Path(pair).stem, time.monotonic()
    repositories = {decoder: output / name / decoder for decoder in decoders}
    for decoder, repository in repositories.items():
        littlebig("export", "--pair", pair, "--target", target, "--decoder", decoder, "--output", str(repository))
    lines = [f"## {name}, target {target}", "", *compare_stages(repositories[decoders[0]])]
    if len(decoders) > 1:
        lines.append(compare_decoders(repositories))
    for decoder, repository in repositories.items() if bench is not None else ():
        results = output / name / f"{decoder}-results"
        # All but the front door is the same with either decoder.
        parts = ("throughput", "front_door") if decoder == decoders[0] else ("front_door",)
        bench(
            *(word for part in parts for word in ("--only", part)),
            "--repository",
            str(repository),
            "--output",
            str(results),
        )
        report = (results / "report.md").read_text(encoding="utf-8").replace("\n## ", "\n#### ")
        lines += ["", f"### {decoder}", "", report]
    return "\n".join([*lines, "", f"{time.monotonic() - begin:.0f} s", ""])


def installed(repository: Path) -> list[str]:
    """What `littlebig doctor` finds, as a table."""
    rows = [
        f"| {one.name} | {'yes' if one.present else 'no'} | {one.text.replace('|', '/')} |"
        for one in examine(repository)
    ]
    return ["## Installed", "", "| part | there | |", "| --- | --- | --- |", *rows, ""]


def main(words: list[str] | None = None) -> None:
    """Check the pairs, and write report.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", help="a shipped pair or a pair file; may be repeated")
    parser.add_argument("--target", choices=TARGETS, default=best_target())
    parser.add_argument("--perf-analyzer", help="without it nothing is measured")
    parser.add_argument("--rounds", default="5", help="of the benchmark")
    parser.add_argument("--output", type=Path, default=Path("build/gpu_check"))
    arguments = parser.parse_args(words)
    try:
        gpus = ", ".join(f"{gpu.name} (compute capability {gpu.compute_capability})" for gpu in find_gpus())
    except NotHereError as reason:
        gpus = str(reason).partition(";")[0]

    def bench(*where: str) -> None:
        load = ("--rounds", arguments.rounds, "--concurrency", "64", "--escalation", "0.15")
        littlebig("bench", "--perf-analyzer", arguments.perf_analyzer, *load, *where)

    providers = ", ".join(onnxruntime.get_available_providers())
    has_codec = importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.nvimgcodec")
    codec = "is installed" if has_codec else "is not installed: Pillow decodes alone"
    report = [
        f"# GPU check\n\n{gpus}; ONNX Runtime {onnxruntime.__version__}: {providers}; nvImageCodec {codec}\n",
    ]
    for number, pair in enumerate(arguments.pair or PAIRS):
        decoders = [each for each in DECODERS if each != NVIMAGECODEC or (has_codec and number == 0)]
        report.append(
            check(pair, arguments.target, arguments.output, bench if arguments.perf_analyzer else None, decoders)
        )
        if number == 0:
            report[1:1] = installed(arguments.output / Path(pair).stem / decoders[0])
    (arguments.output / "report.md").write_text("\n".join(report), encoding="utf-8")
    print("\n".join(report))


if __name__ == "__main__":
    main()
