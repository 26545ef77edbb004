"""Stages on PyTorch, for a GPU without TensorRT: FP16 and CUDA graphs as the engines have, on Triton's Python backend.

They stand in for the engines where a benchmark has a GPU and no TensorRT. They are no export target: each instance is a
process with a CUDA context of its own, and those take turns on the GPU, which the streams of one process need not.
"""
