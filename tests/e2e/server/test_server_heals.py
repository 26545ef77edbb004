"""`littlebig serve` finds lost model processes and loads their models again, or ends with the reason."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tests.e2e.server.conftest import eventually
from tritonclient.utils import InferenceServerException

from littlebig_contract.pictures import sample_photographs
from littlebig_server.stubs import Stub, find_stubs

FREE = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
MODELS = ("little", "big", "preprocess", "little_big")
# Callers that never meet a process of the lost model.
UNTOUCHED = {
    "little": {"big", "preprocess"},
    "big": {"little", "preprocess"},
    "preprocess": {"little", "big", "little_big"},
    "little_big": {"little", "big", "preprocess"},
}
# Healing takes less than 3 s here; a busy machine may need much longer.
MARGIN = 60


class Served:
    """A `littlebig serve` with its log, its tritonserver and the models' processes."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self._log = process, log
        assert process.stdout is not None
        words = dict(line.split()[:2] for line in iter(process.stdout.readline, "stop with Ctrl-C\n"))
        self.url = words["gRPC"]

    @property
    def log(self) -> str:
        return self._log.read_text()

    def said(self) -> list[str]:
        """The lines that are not Triton's."""
        return [line for line in self.log.splitlines() if line.startswith("littlebig: ")]

    def tritonserver(self) -> int:
        def children(pid: int) -> list[int]:
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

        (keeper,) = children(self.process.pid)
        (server,) = children(keeper)
        return server

    def stubs(self, model: str) -> list[Stub]:
        return [stub for stub in find_stubs(self.tritonserver()) if stub.model == model]


@contextmanager
def served(repository: Path, log: Path, *words: str) -> Iterator[Served]:
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "littlebig_cli", "serve", "--repository", str(repository), *FREE, *words],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        yield Served(process, log)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def cascade(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server, which heals after each test."""
    with served(tiny_repository, tmp_path_factory.mktemp("heals") / "stderr") as running:
        yield running


@pytest.fixture
def own(tiny_repository: Path, tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    """A server, and a copy of the repository that the test may break."""
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    with served(repository, tmp_path / "stderr", "--hang-timeout", "2") as running:
        yield running, repository


class Callers:
    """Two callers of each model, who compare every answer with their first."""

    def __init__(self, url: str) -> None:
        self.failures: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.answered = dict.fromkeys((*MODELS, "classify"), 0)
        self._url, self._ended = url, threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(model, value)) for model in self.answered for value in (0, 255)
        ]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        assert eventually(lambda: all(count > 10 for count in self.answered.values()))
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def all_answer(self) -> bool:
        """Whether every model now answers 30 requests more without a failure."""
        before, failed = dict(self.answered), len(self.failures)
        enough = eventually(lambda: all(self.answered[model] > before[model] + 30 for model in before), MARGIN)
        return enough and len(self.failures) == failed

    def _call(self, model: str, value: int) -> None:
        request, output = request_of(model, value)
        first = None
        with triton.InferenceServerClient(self._url) as client:
            while not self._ended.is_set():
                try:
                    # A request in a killed process never gets an answer.
                    answer = client.infer(
                        model, request, outputs=[triton.InferRequestedOutput(output)], client_timeout=5
                    )
                except InferenceServerException as failure:
                    self.failures.append((model, str(failure.message())))
                    self._ended.wait(0.05)
                    continue
                given = answer.as_numpy(output).tobytes()
                first = first or given
                if given != first:
                    self.wrong.append(model)
                self.answered[model] += 1


def request_of(model: str, value: int) -> tuple[list[triton.InferInput], str]:
    """A request with another answer for each value."""
    if model in ("classify", "preprocess"):
        names = ("chelsea.png",) if value else ("coffee.png",)
        pictures = np.array([[path.read_bytes()] for path in sample_photographs(names)], object)
        tensor = triton.InferInput("encoded_image", [1, 1], "BYTES").set_data_from_numpy(pictures)
        return [tensor], "image" if model == "preprocess" else "confidence"
    image = np.full((1, 32, 32, 3), value, np.uint8)
    return [triton.InferInput("image", list(image.shape), "UINT8").set_data_from_numpy(image)], "confidence"


def lost_under_load(cascade: Served, model: str, number: int) -> Mapping[str, list[str]]:
    """Send a signal to a process of a model under load, wait until it is healed; returns the failures by caller."""
    before, said = cascade.stubs(model), len(cascade.said())
    # Processes that an earlier test replaced may still be there.
    victim = max(before, key=lambda stub: stub.started)
    with Callers(cascade.url) as callers:
        os.kill(victim.pid, number)
        assert eventually(lambda: len(cascade.said()) >= said + 2, MARGIN), cascade.said()
        # Requests that wait for the lost process fail a moment later.
        assert eventually(callers.all_answer, MARGIN), callers.failures[-3:]
    assert callers.wrong == []
    lost, healed = cascade.said()[said:]
    # Its own watchdog may have killed a stopped process before the server looked.
    what = "(was stopped|ended)" if number == signal.SIGSTOP else "ended"
    assert re.fullmatch(
        f"littlebig: process {victim.pid} of model '{model}', instance {victim.instance}, {what}: "
        "loading the model again",
        lost,
    )
    assert healed.startswith(f"littlebig: model '{model}' is loaded again, after ")
    assert sorted(stub.instance for stub in set(cascade.stubs(model)) - set(before)) == [f"{model}_0_0", f"{model}_0_1"]
    by_caller: dict[str, list[str]] = {}
    for caller, message in callers.failures:
        by_caller.setdefault(caller, []).append(message)
    return by_caller


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "model",
    ["little_big", "preprocess", pytest.param("little", marks=SLOW), pytest.param("big", marks=SLOW)],
)
def test_a_killed_process_is_replaced_and_no_request_of_the_others_is_lost(cascade: Served, model: str) -> None:
    assert set(lost_under_load(cascade, model, signal.SIGKILL)) & UNTOUCHED[model] == set()


@pytest.mark.parametrize("model", ["little_big", *(pytest.param(each, marks=SLOW) for each in MODELS[:3])])
def test_a_stopped_process_is_killed_and_replaced_and_no_answer_is_another_callers(cascade: Served, model: str) -> None:
    assert set(lost_under_load(cascade, model, signal.SIGSTOP)) & UNTOUCHED[model] == set()


@SLOW
def test_a_server_that_has_healed_stops_long_before_its_exit_timeout(own: tuple[Served, Path]) -> None:
    running, _ = own
    os.kill(running.stubs("little_big")[0].pid, signal.SIGKILL)
    assert eventually(lambda: "is loaded again" in running.log, MARGIN)
    started = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(MARGIN) == 0
    assert time.monotonic() - started < 25, "the exit timeout is 30 s"


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_again_ends_the_server_with_the_reason(own: tuple[Served, Path]) -> None:
    running, repository = own
    file = repository / "preprocess" / "1" / "model.py"
    file.write_text("raise RuntimeError('changed meanwhile')\n")
    victim = running.stubs("preprocess")[0]
    started = time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)
    assert running.process.wait(MARGIN) == 1
    assert time.monotonic() - started < 25, "the exit timeout is 30 s"
    last = running.said()[-1]
    assert last.startswith(
        f"littlebig: process {victim.pid} of model 'preprocess', instance {victim.instance}, ended, and the model "
        "could not be loaded again: "
    )
    assert "changed meanwhile" in last
    assert "Traceback (most recent call last)" not in running.log


# Each process that finds one of the files takes it, and answers nothing from then on.
HANGS = """        import glob, time
        for file in glob.glob({pattern!r}):
            try:
                os.unlink(file)
            except FileNotFoundError:
                continue
            time.sleep(3600)
"""


@SLOW
def test_a_hung_model_is_named_and_ends_the_server(own: tuple[Served, Path], tmp_path: Path) -> None:
    running, repository = own
    file = repository / "little" / "1" / "model.py"
    with_hang = file.read_text().replace(
        '        """Answer every request',
        HANGS.format(pattern=f"{tmp_path}/hang-*") + '        """Answer every request',
    )
    assert with_hang != file.read_text()
    file.write_text(with_hang)
    os.kill(running.stubs("little")[0].pid, signal.SIGKILL)  # which loads the changed code
    assert eventually(lambda: "model 'little' is loaded again" in running.log, MARGIN)
    with Callers(running.url) as callers:
        for number in range(len(running.stubs("little"))):
            (tmp_path / f"hang-{number}").touch()
        assert running.process.wait(MARGIN) == 1
    last = "littlebig: model 'little' has not moved for 2 s while requests wait, and was killed; full log: above"
    assert running.said()[-1] == last
    assert callers.wrong == []


@pytest.mark.parametrize("who", ["tritonserver", pytest.param("keeper", marks=SLOW)])
def test_a_stopped_server_is_killed_and_reported(own: tuple[Served, Path], who: str) -> None:
    running, _ = own
    server = running.tritonserver()
    keeper = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
    pid, name = (server, "tritonserver") if who == "tritonserver" else (keeper, "its keeper")
    os.kill(pid, signal.SIGSTOP)
    assert running.process.wait(MARGIN) == 1
    assert running.said()[-1] == f"littlebig: {name} (pid {pid}) was stopped by a signal, and killed; full log: above"
    assert not Path(f"/proc/{server}").exists() or eventually(lambda: find_stubs(server) == [])
