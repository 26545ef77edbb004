"""The cause of a failure is found in logs as Triton writes them."""

import pytest

from littlebig_server.diagnosis import (
    aborted_on_late_stub,
    cause_of_end,
    failed_model,
    lost_while_loading,
    models_to_unload,
    still_loading,
    taken_port,
)

NO_GPU = 'E1123 11:25:10.295408 24913 server.cc:241] "CudaDriverHelper has not been initialized."'
LAST = "error: creating server: Internal - failed to load all models"


def uncaught(exception: str) -> list[str]:
    return [f"terminate called after throwing an instance of '{exception}'", f"  what():  {exception}"]


LATE_STUB = uncaught("boost::interprocess::lock_exception")


def test_the_failed_model_is_named_instead_of_its_ensemble() -> None:
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


def test_process_lost_while_its_model_loads_is_no_fault_of_the_model() -> None:
    lost = (
        "E1123 11:17:58.17 2 model_lifecycle.cc:654] \"failed to load 'little' version 1: Internal: failed to run "
        "warmup sample 'zeros': Stub process 'little_0_1' is not healthy.\""
    )
    assert lost_while_loading([LAST, lost])
    assert not lost_while_loading([lost.replace("failed to load", "loading"), LAST])
    assert not lost_while_loading(["failed to load 'little' version 1: Internal: RuntimeError: weights are missing"])


def test_unquoted_log_messages_of_other_releases_are_understood() -> None:
    log = ["E0601 10:00:00.1 1 model_lifecycle.cc:642] failed to load 'big' version 2: Not found: no such file"]
    assert failed_model(log) == "model 'big' failed to load: no such file"


def test_a_parse_error_of_a_config_is_reported_with_its_position() -> None:
    log = [
        '[libprotobuf ERROR text_format.cc:337] Error parsing text-format inference.ModelConfig: 3:48: Expected ",", found "}".',
        "E1123 11:17:58.17 20473 model_repository_manager.cc:1460] \"Poll failed for model directory 'classify': failed to read text proto from /models/classify/config.pbtxt\"",
        LAST,
    ]
    assert cause_of_end(1, log) == 'model \'classify\' failed to load: config.pbtxt 3:48: Expected ",", found "}".'


def test_another_reason_to_reject_a_config_is_reported() -> None:
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
            [NO_GPU, *LATE_STUB],
            "killed by SIGABRT after an uncaught boost::interprocess::lock_exception: a Python model's process "
            "probably did not answer for a second; free some CPU and start again",
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
def test_the_cause_of_an_end_is_one_line(code: int, log: list[str], cause: str) -> None:
    assert cause_of_end(code, log) == cause


def test_a_port_that_triton_found_taken_is_read_from_the_log() -> None:
    log = [
        "E1123 2 main.cc:245] \"failed to start GRPC service: Unavailable - Socket '127.0.0.1:18111' already in use \""
    ]
    assert taken_port(log) == 18111
    assert taken_port([NO_GPU]) is None


def test_models_are_still_loading_until_the_log_reports_them_loaded() -> None:
    log = [
        'I1123 11:03:26.6 8649 model_lifecycle.cc:472] "loading: little:1"',
        'I1123 11:03:26.6 8649 model_lifecycle.cc:472] "loading: big:1"',
        'I1123 11:03:26.6 8649 model_lifecycle.cc:472] "loading: preprocess:1"',
        "I1123 11:03:28.6 8649 model_lifecycle.cc:839] \"successfully loaded 'little'\"",
    ]
    assert still_loading(log) == ["big", "preprocess"]


def test_an_uncaught_lock_exception_means_a_late_stub() -> None:
    assert aborted_on_late_stub([NO_GPU, *LATE_STUB])
    assert not aborted_on_late_stub([NO_GPU, *uncaught("std::bad_alloc")])
    assert not aborted_on_late_stub([NO_GPU, "boost::interprocess::lock_exception is what a model printed"])


def test_a_stopping_server_names_the_models_that_it_still_unloads() -> None:
    waiting = (
        'I1128 14:09:31.97 12139 server.cc:321] "Timeout 30: Found 2 model versions that have in-flight inferences"'
    )
    unloading = [
        f'I1128 14:09:32.97 12139 server.cc:345] "Timeout {29 - left}: Found {left} live models and 0 in-flight '
        'non-inference requests"'
        for left in (5, 3)
    ]
    assert models_to_unload([NO_GPU, waiting]) is None
    assert models_to_unload([waiting, *unloading]) == 3
