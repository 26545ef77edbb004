"""Brings weights to a timm model: from a PyPI package, timm's hub, a local file, or none at all."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import timm
import torch

from littlebig_export.errors import PairError, WeightsError
from littlebig_export.pair import TimmModel

StateDict = Mapping[str, torch.Tensor]


def load_timm(model: TimmModel) -> torch.nn.Module:
    """Build a timm model with its weights, in evaluation mode.

    Args:
        model: architecture and where its weights are.

    Raises:
        PairError: if timm has no such architecture.
        WeightsError: if the weights cannot be had, or do not fit.
    """
    name = model.architecture
    if not timm.is_model(name):
        similar = timm.list_models(f"*{name.split('.')[0].split('_')[0]}*")[:5]
        hint = f"; similar: {', '.join(similar)}" if similar else ""
        raise PairError(f"timm {timm.__version__} has no architecture '{name}'{hint}")
    source, _, place = model.weights.partition(":")
    if source == "hub":
        return _from_hub(name)
    torch.manual_seed(0)  # so that two exports with random weights are the same
    network: torch.nn.Module = timm.create_model(name, pretrained=False).eval()
    if source == "package":
        fit_state_dict(network, _read(_file_of_package(place)), f"package {place}")
    elif source == "file":
        fit_state_dict(network, _read(Path(place)), place)
    return network


def hash_weights(network: torch.nn.Module) -> str:
    """SHA-256 over all parameters and buffers, in order, as a hex string: the identity of what is served."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def fit_state_dict(network: torch.nn.Module, state: StateDict, source: str) -> None:
    """Load a state dict by name, or by order where another code base named the same tensors.

    By order is accepted only if every tensor's shape agrees with its counterpart's.

    Args:
        network: filled in place.
        state: tensors by name.
        source: how messages call where it comes from.

    Raises:
        WeightsError: naming the first tensor that does not fit.
    """
    own = network.state_dict()
    # Batch-norm counters are not in every checkpoint, and evaluation never reads them.
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked") and name not in state}
    if set(state) | set(counters) == set(own):
        state = {**state, **counters}
    if set(state) == set(own):
        pairs = {name: (name, state[name]) for name in own}
    elif len(state) == len(own):
        pairs = dict(zip(own, state.items(), strict=True))
    else:
        raise WeightsError(
            f"{source} has {len(state)} tensors, the architecture has {len(own)}: weights of another model?"
        )
    for name, (theirs, tensor) in pairs.items():
        if tensor.shape != own[name].shape:
            raise WeightsError(
                f"{source}: tensor '{theirs}' is {list(tensor.shape)}, "
                f"'{name}' of the architecture is {list(own[name].shape)}: weights of another model?"
            )
    network.load_state_dict({name: tensor for name, (_, tensor) in pairs.items()})


def _from_hub(name: str) -> torch.nn.Module:
    try:
        network: torch.nn.Module = timm.create_model(name, pretrained=True)
    except Exception as reason:  # the hub's client raises whatever its transport does
        raise WeightsError(
            f"weights of '{name}' cannot be had from timm's hub ({type(reason).__name__}): give a state dict with "
            "--little-weights/--big-weights FILE, or --random-weights for load tests and build checks"
        ) from reason
    return network.eval()


def _file_of_package(package: str) -> Path:
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module)
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.pth"))
    if not files:
        raise WeightsError(f"weights package '{package}' is not installed: pip install {package}")
    if len(files) > 1:
        raise WeightsError(f"weights package '{package}' has {len(files)} state dicts; name one with file:PATH")
    return files[0]


def _read(path: Path) -> StateDict:
    """Tensors of a file, whether it is a bare state dict or a checkpoint that holds one."""
    if not path.is_file():
        raise WeightsError(f"no weights file '{path}'")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415  (timm's own dependency, rarely needed)

            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as reason:  # unpickling fails in as many ways as files can be broken
        raise WeightsError(f"'{path}' cannot be read as a state dict: {str(reason).splitlines()[0]}") from reason
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"'{path}' holds no state dict (a mapping from names to tensors)")
    return content
