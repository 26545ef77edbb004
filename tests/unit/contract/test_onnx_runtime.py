"""Execution providers of ONNX Runtime."""

import pytest
from tests.tiny_pair import write_tiny_pair

from littlebig_contract.onnx_runtime import open_session, providers

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("available", "cpu_only", "expected"),
    [
        (["CPUExecutionProvider"], False, ["CPUExecutionProvider"]),
        (["CPUExecutionProvider", "CUDAExecutionProvider"], False, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        (["CPUExecutionProvider", "CUDAExecutionProvider"], True, ["CPUExecutionProvider"]),
        (["AzureExecutionProvider", "CPUExecutionProvider"], False, ["CPUExecutionProvider"]),
    ],
)
def test_cuda_comes_first_where_it_is_available(monkeypatch, available, cpu_only, expected):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    assert providers(cpu_only) == expected


def test_session_opens_a_file_or_its_bytes(tmp_path):
    write_tiny_pair(tmp_path)
    graph = next(tmp_path.glob("*.onnx"))
    inputs = [
        [node.name for node in open_session(source, threads=1, cpu_only=True).get_inputs()]
        for source in (graph, graph.read_bytes())
    ]
    assert inputs[0] == inputs[1] != []
