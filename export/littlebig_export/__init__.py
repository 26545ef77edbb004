"""Exports a pair of classifiers as a model repository that Triton serves.

pair.py             TOML -> which two models
classifiers.py      timm or ONNX -> backbone, reference, hash of the weights   (weights.py, preprocessing.py)
stage_graph.py      backbone -> one graph from the canonical image to label and scores   (resampling.py)
parity.py           compares each graph with the original model, on photographs
precision.py        FP16 or BF16 backbones for engines   (precision_effect.py, rounding.py: how answers change)
repository.py       reference configs -> a complete model repository   (config_pbtxt.py, onnxruntime_stage/)
exporting.py        these steps, in this order

engines.py          builds a repository's plans for this machine's GPU   (engine_build.py, engine_key.py, gpu.py)
checking.py         builds the graphs with TensorRT-RTX, on any machine   (tensorrt_api.py, skeleton.py)
costs.py            parameters and multiply-adds of both stages
"""
