"""An unprivileged client can classify and read metadata, and do nothing else; each opening opens what it names."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, shared_memory

from littlebig_server import ServerSettings, TritonServer

REGION = f"littlebig-closed-test-{os.getpid()}"
NO_CUDA_HANDLE = b"bm9uZQ=="
Call = Callable[[triton.InferenceServerClient], object]

SHARED_MEMORY: dict[str, Call] = {
    "register system shared memory": lambda client: client.register_system_shared_memory("x", f"/{REGION}", 64),
    "read the registered system shared memory": lambda client: client.get_system_shared_memory_status(),
    "unregister system shared memory": lambda client: client.unregister_system_shared_memory(),
    "read the registered CUDA shared memory": lambda client: client.get_cuda_shared_memory_status(),
    "unregister CUDA shared memory": lambda client: client.unregister_cuda_shared_memory(),
}
OTHERS: dict[str, Call] = {
    "list the repository": lambda client: client.get_model_repository_index(),
    "load a model": lambda client: client.load_model("classify"),
    "load a model with another configuration": lambda client: client.load_model("classify", config="{}"),
    "unload a model": lambda client: client.unload_model("classify"),
    "change the log": lambda client: client.update_log_settings({"log_info": True}),
    "read the log's settings": lambda client: client.get_log_settings(),
    "change traces": lambda client: client.update_trace_settings(settings={"trace_rate": "1000"}),
    "change a model's traces": lambda client: client.update_trace_settings("classify", {"trace_rate": "1000"}),
    "read the traces' settings": lambda client: client.get_trace_settings(),
}
REGISTER_CUDA: Call = lambda client: client.register_cuda_shared_memory("c", NO_CUDA_HANDLE, 0, 64)  # noqa: E731
OVER_HTTP = [
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/classify/load"),
    ("POST", "/v2/repository/models/classify/unload"),
    ("POST", "/v2/systemsharedmemory/region/x/register"),
    ("POST", "/v2/systemsharedmemory/region/x/unregister"),
    ("POST", "/v2/systemsharedmemory/unregister"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/cudasharedmemory/region/x/register"),
    ("POST", "/v2/cudasharedmemory/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
    ("GET", "/v2/trace/setting"),
    ("POST", "/v2/trace/setting"),
    ("GET", "/v2/models/classify/trace/setting"),
    ("POST", "/v2/models/classify/trace/setting"),
]


@pytest.fixture
def client(running: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(running.grpc_url) as connected:
        yield connected


@pytest.fixture
def region() -> Iterator[None]:
    """A region of system shared memory that a client may name."""
    handle = shared_memory.create_shared_memory_region("x", f"/{REGION}", 64)
    yield
    shared_memory.destroy_shared_memory_region(handle)


def refusal(call: Call, client: triton.InferenceServerClient) -> str | None:
    """Triton's message, None if it does what is asked."""
    try:
        call(client)
    except InferenceServerException as refused:
        return str(refused.message())
    return None


def doubled(client: triton.InferenceServerClient) -> list[float]:
    values = triton.InferInput("X", [1, 4], "FP32").set_data_from_numpy(np.array([[1, 2, 3, 4]], np.float32))
    return client.infer("classify", [values], client_timeout=30).as_numpy("Y")[0].tolist()


def test_no_administrative_call_is_open_over_grpc(client: triton.InferenceServerClient) -> None:
    closed = "This protocol is restricted, expecting header 'triton-grpc-protocol-littlebig-administration'"
    calls = {**SHARED_MEMORY, **OTHERS, "register CUDA shared memory": REGISTER_CUDA}
    assert {what: refusal(call, client) for what, call in calls.items()} == dict.fromkeys(calls, closed)
    guess = {"triton-grpc-protocol-littlebig-administration": "guess"}
    assert refusal(lambda client: client.unload_model("classify", headers=guess), client) == closed


def test_no_administrative_call_is_open_over_http(running: TritonServer) -> None:
    host, _, port = running.http_url.partition(":")
    answers = {}
    for method, path in OVER_HTTP:
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request(method, path, "{}")
        answer = connection.getresponse()
        answers[method, path] = (answer.status, json.loads(answer.read() or "{}").get("error"))
        connection.close()
    closed = (403, "This API is restricted, expecting header 'littlebig-administration'")
    assert answers == dict.fromkeys(OVER_HTTP, closed)


def test_clients_classify_and_read_metadata_configuration_and_statistics(client: triton.InferenceServerClient) -> None:
    assert doubled(client) == [2, 4, 6, 8]
    assert client.is_server_ready()
    assert client.is_model_ready("classify")
    assert client.get_server_metadata().version
    assert client.get_model_metadata("classify").name == "classify"
    assert client.get_model_config("classify").config.name == "classify"
    assert client.get_inference_statistics("classify").model_stats[0].inference_count > 0


def test_the_secret_opens_the_administration_and_is_not_in_the_log(
    running: TritonServer, client: triton.InferenceServerClient
) -> None:
    headers = dict(running.administration_headers)
    assert [model.name for model in client.get_model_repository_index(headers=headers).models] == ["classify"]
    (secret,) = headers.values()
    assert secret not in "\n".join(running.log_tail())


@pytest.mark.usefixtures("region")
def test_client_shared_memory_opens_that_alone(repository: Path) -> None:
    settings = ServerSettings(exit_timeout=0, client_shared_memory=True)
    with TritonServer(repository, settings) as server, triton.InferenceServerClient(server.grpc_url) as client:
        assert {what: refusal(call, client) for what, call in SHARED_MEMORY.items()} == dict.fromkeys(SHARED_MEMORY)
        refused = {what: refusal(call, client) for what, call in OTHERS.items()}
        assert all((message or "").startswith("This protocol is restricted") for message in refused.values()), refused
        assert doubled(client) == [2, 4, 6, 8]


@pytest.mark.usefixtures("region")
def test_open_administration_opens_every_call(repository: Path) -> None:
    settings = ServerSettings(exit_timeout=0, open_administration=True)
    with TritonServer(repository, settings) as server, triton.InferenceServerClient(server.grpc_url) as client:
        for what, call in {**SHARED_MEMORY, **OTHERS}.items():
            message = refusal(call, client) or ""
            # Refused for what it says (no backend), not for who says it.
            assert message == "" or "with another configuration" in what, (what, message)
            assert "restricted" not in message
            if what == "unload a model":
                client.load_model("classify")
        assert doubled(client) == [2, 4, 6, 8]
