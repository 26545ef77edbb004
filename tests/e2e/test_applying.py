"""A running server takes a calibration through Triton's load API where model control allows it."""

import contextlib
import io
import json
import shutil
import threading

import numpy as np
import pytest
import tritonclient.grpc
from PIL import Image
from tests.e2e.gate.puppets import Puppets, until

from littlebig_client import Classification, Client
from littlebig_export.applying import apply_calibration
from littlebig_server import ServerSettings, TritonServer

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


class Served:
    """A server that lets its client load models, and the repository that it serves."""

    def __init__(self, repository, server, client, triton):
        self.repository, self.server, self.client, self.triton = repository, server, client, triton

    def apply(self, threshold, **changes):
        """Apply a calibration and load the gate again."""
        apply_calibration(self.repository, calibration(self.repository, threshold, **changes), allow_big_only=True)
        self.triton.load_model("little_big")

    def executions(self, model):
        """Batches of a model since it was loaded."""
        return self.triton.get_inference_statistics(model).model_stats[0].execution_count


@contextlib.contextmanager
def serve(repository, **settings):
    settings = ServerSettings(open_administration=True, **settings)
    with (
        TritonServer(repository, settings) as server,
        Client(server.grpc_url) as client,
        tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton,
    ):
        yield Served(repository, server, client, triton)


@pytest.fixture(scope="module")
def served(tiny_repository, tmp_path_factory):
    with serve(shutil.copytree(tiny_repository, tmp_path_factory.mktemp("applying") / "models")) as running:
        yield running


def calibration(repository, threshold, **changes):
    stages = json.loads((repository / "littlebig.json").read_text())["stages"]
    models = {
        stage: {"name": facts["model"], "weights_sha256": facts["weights"]["sha256"]} for stage, facts in stages.items()
    }
    rate = {"value": 0.2, "low": 0.1, "high": 0.3}
    chosen = {"threshold": threshold, "escalation_rate": rate, "disagreement": None}
    return json.dumps({**models, "score": "confidence", "answer": "big", "chosen": chosen, **changes})


def test_an_applied_calibration_is_served_once_the_gate_is_loaded_again(served):
    for threshold, stage in ((0.0, "little"), (1.0, "big"), (None, "big")):
        served.apply(threshold)
        assert served.client.classify(IMAGE).stage == stage


def test_margin_and_arbitration_are_served_as_calibrated(served):
    for offset, stage in ((-100.0, "little"), (100.0, "big")):  # both stages run, and one of them always wins
        served.apply(1.0, score="margin", answer="arbitrate", offset=offset)
        assert served.client.classify(IMAGE).stage == stage


@contextlib.contextmanager
def load(client, image, **options):
    """Eight callers who ask for one image after another; yields the list of their answers, which grows."""
    over, answers = threading.Event(), []

    def images():
        while not over.is_set():
            yield image

    asking = threading.Thread(target=lambda: answers.extend(client.classify_many(images(), concurrency=8, **options)))
    asking.start()
    try:
        yield answers
    finally:
        over.set()
        asking.join(60)


def wait_for_more(answers):
    """Wait for answers to requests that are sent from now on."""
    before = len(answers)
    until(lambda: len(answers) > before + 50, "answers go on")


def test_a_gate_is_replaced_under_load_without_losing_a_request(served):
    metrics = Puppets(served.repository, served.server, None)
    before = metrics.metric("littlebig_images_total")
    served.apply(0.5)
    with load(served.client, IMAGE) as answers:
        for threshold in (0.0, 1.0):
            served.apply(threshold)
            wait_for_more(answers)
    assert [answer for answer in answers if not isinstance(answer, Classification)] == []
    assert {answer.stage for answer in answers} == {"little", "big"}
    # Counters continue across gates. They are published about once a second.
    until(
        lambda: metrics.metric("littlebig_images_total") - before >= len(answers), f"{len(answers)} images are counted"
    )
    assert "successfully unloaded 'little_big' version 1" in "\n".join(served.server.log_tail())


@pytest.mark.slow
def test_a_refused_gate_and_reloaded_stages_lose_no_request_under_load(tiny_repository, tmp_path):
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    config = repository / "little_big" / "config.pbtxt"
    picture = io.BytesIO()
    Image.fromarray(IMAGE).save(picture, "JPEG")
    # After a refused load Triton 24.10 counts one live model too many, so that a stop takes all of the exit timeout.
    with serve(repository, exit_timeout=1) as served:
        with load(served.client, picture.getvalue(), threshold=1.0) as answers:  # through every model
            wait_for_more(answers)
            apply_calibration(repository, calibration(repository, 1.0))
            right = config.read_text()
            config.write_text(right.replace('string_value: "1.0"', 'string_value: "2"'))
            with pytest.raises(tritonclient.grpc.InferenceServerException) as refused:
                served.triton.load_model("little_big")
            assert "parameter 'threshold' = '2' is not a number in [0, 1]" in str(refused.value)
            wait_for_more(answers)
            config.write_text(right)
            for model in ("little", "big", "preprocess", "little_big", "classify"):
                # What has not changed is not loaded, and a changed config.pbtxt alone is not always a new load.
                (repository / model / "1" / "changed").touch()
                before = served.executions(model)
                served.triton.load_model(model)
                assert served.executions(model) < before  # counted from the load on
                wait_for_more(answers)
        assert [answer for answer in answers if not isinstance(answer, Classification)] == []
