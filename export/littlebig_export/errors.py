"""What can go wrong on the way from a pair to a model repository; every message names the remedy."""


class ExportError(Exception):
    """Base class of every failure that a user of this package can cause or fix."""


class PairError(ExportError):
    """The pair's description is wrong: unknown name, missing key, two models that do not belong together."""


class WeightsError(ExportError):
    """The weights cannot be loaded, or do not fit the architecture."""


class GraphError(ExportError):
    """An ONNX graph cannot serve as a stage."""


class ParityError(ExportError):
    """The exported graph does not answer as the model it was made from."""


class RepositoryError(ExportError):
    """The model repository cannot be read, or cannot be written to the given folder."""


class EngineError(ExportError):
    """A TensorRT engine cannot be built here, or the one that is here was not built for this machine."""


class NotHereError(EngineError):
    """This machine builds no engines at all: no TensorRT that fits, or no GPU."""
