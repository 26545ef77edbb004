"""The line that says what went wrong, out of logs as Triton writes them."""

from __future__ import annotations

import pytest

from littlebig_server.diagnosis import (
    cause_of_end,
    failed_model,
    gave_up_on_a_stub,
    still_loading,
    taken_port,
)

NO_GPU = 'E1123 11:25:10.295408 24913 server.cc:241] "CudaDriverHelper has not been initialized."'
LAST = "error: creating server: Internal - failed to load all models"


def uncaught(exception: str) -> list[str]:
    return [f"terminate called after throwing an instance of '{exception}'", f"  what():  {exception}"]


GAVE_UP = uncaught("boost::interprocess::lock_exception")


def test_the_model_at_fault_is_named_and_not_the_ensemble_above_it() -> None:
    log = [
        NO_GPU,
        r'E1123 11:25:11.88 24913 model_lifecycle.cc:642] "failed to load '
        r"'little' version 1: Internal: RuntimeError: weights are missing\n\nAt:\n  /models/little/1/model.py(4): initialize\n"
        '"',
        "E1123 11:25:11.88 24913 model_repository_manager.cc:703] \"Invalid argument: ensemble 'classify' depends on 'little' which has no loaded version.\"",
        LAST,
    ]
    assert cause_of_end(1, log) == (
        "model 'little' failed to load: RuntimeError: weights are missing (model.py(4): initialize)"
    )


def test_logs_of_releases_that_do_not_quote_messages() -> None:
    log = ["E0601 10:00:00.1 1 model_lifecycle.cc:642] failed to load 'big' version 2: Not found: no such file"]
    assert failed_model(log) == "model 'big' failed to load: no such file"


def test_a_config_that_cannot_be_parsed() -> None:
    log = [
        '[libprotobuf ERROR text_format.cc:337] Error parsing text-format inference.ModelConfig: 3:48: Expected ",", found "}".',
        "E1123 11:17:58.17 20473 model_repository_manager.cc:1460] \"Poll failed for model directory 'classify': failed to read text proto from /models/classify/config.pbtxt\"",
        LAST,
    ]
    assert cause_of_end(1, log) == 'model \'classify\' failed to load: config.pbtxt 3:48: Expected ",", found "}".'


def test_a_config_refused_for_another_reason() -> None:
    log = [
        "E1123 11:17:58.17 2 m.cc:1460] \"Poll failed for model directory 'big': Invalid argument: unexpected platform\""
    ]
    assert failed_model(log) == "model 'big' failed to load: unexpected platform"


@pytest.mark.parametrize(
    ("code", "log", "cause"),
    [
        (-9, [NO_GPU], "killed by SIGKILL, perhaps by the kernel because memory ran out"),
        (-11, [NO_GPU], "killed by SIGSEGV"),
        (-6, [NO_GPU, *uncaught("std::bad_alloc")], "killed by SIGABRT after an uncaught std::bad_alloc"),
        (
            -6,
            [NO_GPU, *GAVE_UP],
            "killed by SIGABRT after an uncaught boost::interprocess::lock_exception; seen where a Python model's process "
            "gave no sign of life for a second: free some CPU, and start again",
        ),
        (0, [NO_GPU], "exit code 0"),
        (3, [], "exit code 3"),
        (
            1,
            ["tritonserver: unrecognized option '--foo=1'", "Usage: ..."],
            "tritonserver: unrecognized option '--foo=1'",
        ),
        (
            127,
            ["tritonserver: error while loading shared libraries: libb64.so: cannot open shared object file"],
            "tritonserver: error while loading shared libraries: libb64.so: cannot open shared object file",
        ),
        (127, ["cannot start ./triton: Exec format error"], "cannot start ./triton: Exec format error"),
        (
            1,
            [NO_GPU, 'E1123 11:19:12.34 2 main.cc:293] "failed to start Metrics service: Unavailable "'],
            "failed to start Metrics service: Unavailable",
        ),
    ],
)
def test_other_ends(code: int, log: list[str], cause: str) -> None:
    assert cause_of_end(code, log) == cause


def test_the_port_that_was_taken_between_choice_and_start() -> None:
    log = [
        "E1123 2 main.cc:245] \"failed to start GRPC service: Unavailable - Socket '127.0.0.1:18111' already in use \""
    ]
    assert taken_port(log) == 18111
    assert taken_port([NO_GPU]) is None


def test_models_that_are_still_loading() -> None:
    log = [
        'I1123 11:03:26.6 8649 model_lifecycle.cc:472] "loading: little:1"',
        'I1123 11:03:26.6 8649 model_lifecycle.cc:472] "loading: big:1"',
        'I1123 11:03:26.6 8649 model_lifecycle.cc:472] "loading: preprocess:1"',
        "I1123 11:03:28.6 8649 model_lifecycle.cc:839] \"successfully loaded 'little'\"",
    ]
    assert still_loading(log) == ["big", "preprocess"]


def test_the_exception_that_gives_a_late_model_away() -> None:
    assert gave_up_on_a_stub([NO_GPU, *GAVE_UP])
    assert not gave_up_on_a_stub([NO_GPU, *uncaught("std::bad_alloc")])
    assert not gave_up_on_a_stub([NO_GPU, "boost::interprocess::lock_exception is what a model printed"])
