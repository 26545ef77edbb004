"""Check and measure the cascade on this machine's GPU, and write a report.

    make gpu-check PERF_ANALYZER=path/to/perf_analyzer

For each pair: export it, serve it, compare both stages' answers with those of the same graphs on the CPU, then
`littlebig bench` of little, big, cascade, textbook gate and of JPEG files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import tritonclient.grpc

from littlebig_contract.stages import STAGES
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


def check(pair: str, target: str, output: Path, bench: Callable[..., None] | None) -> str:
    """Export, compare and measure one pair; returns its part of the report, as Markdown."""
    name = Path(pair).stem
    repository = output / name / "models"
    littlebig("export", "--pair", pair, "--target", target, "--output", str(repository))
    lines = [f"## {name}, target {target}", "", *compare_stages(repository), ""]
    if bench is not None:
        bench("--repository", str(repository), "--output", str(output / name))
        lines += [(output / name / "report.md").read_text(encoding="utf-8").replace("\n## ", "\n### "), ""]
    return "\n".join(lines)


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
        parts = ("--only", "throughput", "--only", "front_door", "--concurrency", "64", "--escalation", "0.15")
        littlebig("bench", "--perf-analyzer", arguments.perf_analyzer, "--rounds", arguments.rounds, *parts, *where)

    providers = ", ".join(onnxruntime.get_available_providers())
    report = [f"# GPU check\n\n{gpus}; ONNX Runtime {onnxruntime.__version__}: {providers}\n"]
    for pair in arguments.pair or PAIRS:
        report.append(check(pair, arguments.target, arguments.output, bench if arguments.perf_analyzer else None))
    (arguments.output / "report.md").write_text("\n".join(report), encoding="utf-8")
    print("\n".join(report))


if __name__ == "__main__":
    main()
