"""Turns a pair of classifiers into a model repository that Triton serves.

pair.py             TOML -> which two models
classifiers.py      timm or ONNX -> backbone, reference, identity   (weights.py, preprocessing.py)
stage_graph.py      backbone -> one graph from the canonical image to the answer   (resampling.py)
parity.py           graph against the original model, on photographs
repository.py       reference configs -> a complete model repository   (config_pbtxt.py, cpu_stage/)
exporting.py        all of it, in this order
"""
