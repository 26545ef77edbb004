"""Names of the models in a repository, as Triton knows them."""

STAGES = ("little", "big")
MODELS = (*STAGES, "little_big", "preprocess", "classify")
