"""Stages on PyTorch instead of TensorRT engines, to measure the gate on a GPU without TensorRT: see ../README.md.

writing.py    writes a model repository again with such stages
model.py      the stage as Triton's Python backend runs it; copied into the repository
"""
