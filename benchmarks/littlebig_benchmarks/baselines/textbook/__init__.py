"""The textbook gate as a Triton model: config.pbtxt and model.py, rendered into a served repository."""
