"""Tries many kinds of models: export, parity with the original, a TensorRT-RTX build."""
