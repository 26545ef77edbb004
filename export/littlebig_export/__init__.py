"""Turns a pair of classifiers into a model repository that Triton serves.

pair.py             TOML -> which two models
classifiers.py      timm or ONNX -> backbone, reference, identity   (weights.py, preprocessing.py)
stage_graph.py      backbone -> one graph from the canonical image to the answer   (resampling.py)
parity.py           graph against the original model, on photographs
precision.py        FP16 or BF16 backbones for engines   (precision_effect.py, rounding.py: what that does to answers)
repository.py       reference configs -> a complete model repository   (config_pbtxt.py, provenance.py, cpu_stage/)
exporting.py        all of it, in this order

engines.py          a repository's plans for this machine's GPU   (engine_build.py, engine_key.py, gpu.py)
checking.py         would TensorRT take the graphs? on any machine   (tensorrt_api.py, skeleton.py)
costs.py            parameters and multiply-adds of both stages
"""
