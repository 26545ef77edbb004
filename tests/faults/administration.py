"""Administrative calls, none of which a client without the server's secret may make."""

from __future__ import annotations

import urllib.error
import urllib.request

import grpc
from tritonclient.grpc import service_pb2 as pb

_SERVICE = "/inference.GRPCInferenceService/"
_HEADER = "littlebig-administration"
# What the network may do: classify, and read metadata.
OPEN = {
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics"),
    *("ModelInfer", "ModelStreamInfer"),
}
# They would do no harm to the server if they were allowed.
CLOSED = {
    "RepositoryIndex": pb.RepositoryIndexRequest(),
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="none"),
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="none"),
    "SystemSharedMemoryStatus": pb.SystemSharedMemoryStatusRequest(),
    "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(name="none", key="/none", byte_size=1),
    "SystemSharedMemoryUnregister": pb.SystemSharedMemoryUnregisterRequest(name="none"),
    "CudaSharedMemoryStatus": pb.CudaSharedMemoryStatusRequest(),
    "CudaSharedMemoryRegister": pb.CudaSharedMemoryRegisterRequest(name="none", byte_size=1),
    "CudaSharedMemoryUnregister": pb.CudaSharedMemoryUnregisterRequest(name="none"),
    "TraceSetting": pb.TraceSettingRequest(),
    "LogSettings": pb.LogSettingsRequest(),
}
CLOSED_PATHS = (
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/none/load"),
    ("POST", "/v2/repository/models/none/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("GET", "/v2/systemsharedmemory/region/none/status"),
    ("POST", "/v2/systemsharedmemory/region/none/register"),
    ("POST", "/v2/systemsharedmemory/unregister"),
    ("POST", "/v2/systemsharedmemory/region/none/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("POST", "/v2/cudasharedmemory/region/none/register"),
    ("POST", "/v2/cudasharedmemory/unregister"),
    ("GET", "/v2/trace/setting"),
    ("POST", "/v2/trace/setting"),
    ("GET", "/v2/models/little_big/trace/setting"),
    ("POST", "/v2/models/little_big/trace/setting"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
)


def unknown_calls():
    """Calls of Triton's service that stand in neither list."""
    methods = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    return {method.name for method in methods} - OPEN - CLOSED.keys()


def allowed(service, secret=None):
    """Administrative calls that the server performs, or refuses for another reason than that they are closed.

    Args:
        service: has the server's `grpc_url` and `http_url`.
        secret: sent along as if it were the server's.
    """
    names = (_HEADER, f"triton-grpc-protocol-{_HEADER}")
    headers = {name: secret for name in names if secret is not None}
    return [*_calls(service.grpc_url, headers), *_paths(service.http_url, headers)]


def _calls(url, headers):
    with grpc.insecure_channel(url) as channel:
        for method, request in CLOSED.items():
            call = channel.unary_unary(_SERVICE + method)
            try:
                call(request.SerializeToString(), timeout=30, metadata=list(headers.items()))
                yield f"{method} is allowed"
            except grpc.RpcError as error:
                if "restricted" not in (error.details() or ""):
                    yield f"{method} is refused by {error.code().name}: {error.details()}"


def _paths(url, headers):
    for verb, path in CLOSED_PATHS:
        body = b"{}" if verb == "POST" else None
        request = urllib.request.Request(f"http://{url}{path}", body, headers, method=verb)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                yield f"{verb} {path} is allowed: {answer.status}"
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 403:
                    yield f"{verb} {path} is refused by {error.code}: {error.read(200)!r}"
