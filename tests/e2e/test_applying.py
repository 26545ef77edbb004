"""A running server takes a calibration through Triton's load API where model control allows it."""

import json
import shutil

import numpy as np
import tritonclient.grpc

from littlebig_client import Client
from littlebig_export.applying import apply_calibration
from littlebig_server import ServerSettings, TritonServer

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def calibration(repository, threshold):
    stages = json.loads((repository / "littlebig.json").read_text())["stages"]
    models = {
        stage: {"name": facts["model"], "weights_sha256": facts["weights"]["sha256"]} for stage, facts in stages.items()
    }
    rate = {"value": 0.2, "low": 0.1, "high": 0.3}
    chosen = {"threshold": threshold, "escalation_rate": rate, "disagreement": None}
    return json.dumps({**models, "gate": "confidence", "answer": "big", "chosen": chosen})


def test_an_applied_calibration_is_served_once_the_gate_is_loaded_again(tiny_repository, tmp_path):
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    settings = ServerSettings(model_control_mode="explicit", arguments=("--load-model=*",))
    with TritonServer(repository, settings) as server, Client(server.grpc_url) as client:
        triton = tritonclient.grpc.InferenceServerClient(server.grpc_url)
        for threshold, stage in ((0.0, "little"), (1.0, "big"), (0.0, "little"), (None, "big")):
            apply_calibration(repository, calibration(repository, threshold))
            triton.load_model("little_big")
            assert client.classify(IMAGE).stage == stage
        triton.close()


def test_margin_and_arbitration_are_served_as_they_were_chosen(tiny_repository, tmp_path):
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    text = json.loads(calibration(repository, 1.0)) | {"gate": "margin", "answer": "arbitrate"}
    settings = ServerSettings(model_control_mode="explicit", arguments=("--load-model=*",))
    with TritonServer(repository, settings) as server, Client(server.grpc_url) as client:
        triton = tritonclient.grpc.InferenceServerClient(server.grpc_url)
        for offset, stage in ((-100.0, "little"), (100.0, "big")):  # both ran, and one of them always wins
            apply_calibration(repository, json.dumps(text | {"offset": offset}))
            triton.load_model("little_big")
            assert client.classify(IMAGE).stage == stage
        triton.close()
