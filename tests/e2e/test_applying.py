"""A running server takes a calibration through Triton's load API where model control allows it."""

import json
import shutil
import threading

import numpy as np
import tritonclient.grpc
from tests.e2e.gate.puppets import Puppets, until

from littlebig_client import Classification, Client
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


def test_a_gate_is_replaced_under_load_and_nothing_is_lost(tiny_repository, tmp_path):
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    settings = ServerSettings(model_control_mode="explicit", arguments=("--load-model=*",))
    over, answers = threading.Event(), []

    def images():
        while not over.is_set():
            yield IMAGE

    def ask():
        answers.extend(client.classify_many(images(), concurrency=8))

    with TritonServer(repository, settings) as server, Client(server.grpc_url) as client:
        asking = threading.Thread(target=ask)
        asking.start()
        try:
            with tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton:
                for threshold in (0.0, 1.0, 0.0, 1.0):
                    apply_calibration(repository, calibration(repository, threshold))
                    triton.load_model("little_big")
                    before = len(answers)
                    until(lambda: len(answers) > before + 200, "the new gate answers")  # noqa: B023
        finally:
            over.set()
            asking.join(60)
        assert [answer for answer in answers if not isinstance(answer, Classification)] == []
        assert {answer.stage for answer in answers} == {"little", "big"}
        # The counters go on where those of the gate before were: they are published about once a second.
        counted = Puppets(repository, server, None)
        until(lambda: counted.metric("littlebig_images_total") == len(answers), f"{len(answers)} images are counted")
    said = "\n".join(server.log_tail())
    assert said.count("successfully unloaded 'little_big' version 1") >= 5
    assert "Exit timeout expired" not in said
