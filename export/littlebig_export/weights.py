"""Loads weights into a timm model: from a PyPI package, timm's hub or a local file, or random ones."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

import huggingface_hub
import timm
import torch
from huggingface_hub import constants

from littlebig_export import internimage  # noqa: F401  (registers its models with timm)
from littlebig_export.errors import PairError, WeightsError
from littlebig_export.pair import TimmModel

StateDict = Mapping[str, torch.Tensor]
# Time for the hub's first answer.
_HUB_SECONDS = 3.0
# Standard deviation of what is added to weights that are all equal.
_NOISE = 0.1


def load_timm(model: TimmModel) -> torch.nn.Module:
    """Build a timm model with its weights, in evaluation mode.

    Args:
        model: the architecture and the source of its weights.

    Raises:
        PairError: if timm has no such architecture.
        WeightsError: if the weights cannot be loaded, or do not fit.
    """
    name = model.architecture
    if not timm.is_model(name):
        similar = timm.list_models(f"*{name.split('.')[0].split('_')[0]}*")[:5]
        hint = f"; similar: {', '.join(similar)}" if similar else ""
        raise PairError(f"timm {timm.__version__} has no architecture '{name}'{hint}")
    source, _, place = model.weights.partition(":")
    if source == "hub":
        return _from_hub(name)
    torch.manual_seed(0)  # two exports with random weights are equal
    network: torch.nn.Module = timm.create_model(name, pretrained=False).eval()
    if source == "package":
        fit_state_dict(network, _read(_file_of_package(place)), f"package {place}")
    elif source == "file":
        fit_state_dict(network, _read(Path(place)), place)
    else:
        _vary_constants(network)
    return network


def hash_weights(network: torch.nn.Module) -> str:
    """SHA-256 of all parameters and buffers with their names, in order, as a hex string."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def fit_state_dict(network: torch.nn.Module, state: StateDict, source: str) -> None:
    """Load a state dict by name, or by order if its names are those of another code base.

    Loading by order requires that all shapes agree.

    Args:
        network: filled in place.
        state: tensors by name.
        source: of the state dict, for error messages.

    Raises:
        WeightsError: naming the first tensor that does not fit.
    """
    own = network.state_dict()
    # Some checkpoints lack the counters of batch norms; evaluation does not read them.
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
    for name, (given_name, tensor) in pairs.items():
        if tensor.shape != own[name].shape:
            raise WeightsError(
                f"{source}: tensor '{given_name}' is {list(tensor.shape)}, "
                f"'{name}' of the architecture is {list(own[name].shape)}: weights of another model?"
            )
    network.load_state_dict({name: tensor for name, (_, tensor) in pairs.items()})


def _vary_constants(network: torch.nn.Module) -> None:
    """Let every random weight matter: timm begins residual branches and heads with zeros, which hide their faults."""
    with torch.no_grad():
        for parameter in network.parameters():
            if (
                parameter.is_floating_point()
                and not parameter.is_meta
                and bool((parameter == parameter.flatten()[0]).all())
            ):
                parameter.add_(_NOISE * torch.randn_like(parameter))


def _from_hub(name: str) -> torch.nn.Module:
    try:
        with _cache_alone_if_unreachable():
            network: torch.nn.Module = timm.create_model(name, pretrained=True)
    except Exception as reason:  # the hub's client lets its transport's exceptions through
        raise WeightsError(
            f"weights of '{name}' cannot be loaded from timm's hub ({type(reason).__name__}): give a state dict with "
            "--little-weights/--big-weights FILE, or --random-weights for load tests and build checks"
        ) from reason
    return network.eval()


@contextlib.contextmanager
def _cache_alone_if_unreachable() -> Iterator[None]:
    """Read the cache alone if the hub does not answer: its client would try again for a minute, with warnings."""
    before = constants.HF_HUB_OFFLINE
    try:
        if not before:
            huggingface_hub.get_session().head(constants.ENDPOINT, timeout=_HUB_SECONDS)
    except Exception:  # whatever its transport raises
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _file_of_package(package: str) -> Path:
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module)
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.pth"))
    if not files:
        raise WeightsError(f"weights package '{package}' is not installed: pip install {package}")
    if len(files) > 1:
        raise WeightsError(f"weights package '{package}' has {len(files)} state dicts: choose one with file:PATH")
    return files[0]


def _read(path: Path) -> StateDict:
    """The tensors of a file that is a state dict or a checkpoint with one in it."""
    if not path.is_file():
        raise WeightsError(f"no weights file '{path}'")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415  (timm's own dependency, rarely needed)

            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as reason:  # unpickling a broken file raises almost any exception
        raise WeightsError(f"'{path}' cannot be read as a state dict: {str(reason).splitlines()[0]}") from reason
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"'{path}' holds no state dict (a mapping from names to tensors)")
    return content
