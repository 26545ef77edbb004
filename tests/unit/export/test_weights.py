from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from littlebig_export.errors import PairError, WeightsError  # noqa: E402
from littlebig_export.pair import TimmModel  # noqa: E402
from littlebig_export.weights import fit_state_dict, hash_weights, load_timm  # noqa: E402


def network():
    return torch.nn.Sequential(OrderedDict(one=torch.nn.Linear(3, 4), norm=torch.nn.BatchNorm1d(4)))


def filled(value):
    return {name: torch.full_like(tensor, value) for name, tensor in network().state_dict().items()}


def test_a_state_dict_with_the_same_names_is_loaded_by_name():
    model = network()
    fit_state_dict(model, dict(reversed(filled(2).items())), "file")
    assert all((tensor == 2).all() for tensor in model.state_dict().values())


def test_a_state_dict_with_other_names_is_loaded_by_order():
    model = network()
    fit_state_dict(model, {f"theirs.{name}": tensor for name, tensor in filled(3).items()}, "file")
    assert all((tensor == 3).all() for tensor in model.state_dict().values())


def test_batch_norm_counters_may_be_missing():
    model = network()
    fit_state_dict(model, {k: v for k, v in filled(4).items() if "num_batches" not in k}, "file")
    assert (model.one.weight == 4).all()


def test_a_state_dict_of_another_length_is_refused():
    with pytest.raises(WeightsError) as error:
        fit_state_dict(network(), {"a": torch.zeros(3)}, "w.pth")
    assert str(error.value) == "w.pth has 1 tensors, the architecture has 7: weights of another model?"


def test_a_tensor_of_another_shape_is_refused_by_name():
    wrong = filled(1)
    wrong["one.weight"] = torch.zeros(4, 5)
    with pytest.raises(WeightsError) as error:
        fit_state_dict(network(), wrong, "w.pth")
    assert str(error.value) == (
        "w.pth: tensor 'one.weight' is [4, 5], 'one.weight' of the architecture is [4, 3]: weights of another model?"
    )


def test_the_hash_depends_on_the_weights_alone():
    one, same, other = network(), network(), network()
    fit_state_dict(one, filled(1), "")
    fit_state_dict(same, filled(1), "")
    fit_state_dict(other, filled(2), "")
    assert hash_weights(one) == hash_weights(same) != hash_weights(other)


def test_random_weights_are_reproducible():
    model = TimmModel("tf_efficientnet_lite0", "random")
    assert hash_weights(load_timm(model)) == hash_weights(load_timm(model))


def test_an_unknown_architecture_is_refused_with_similar_names():
    with pytest.raises(PairError, match=r"has no architecture 'resnet51'; similar: "):
        load_timm(TimmModel("resnet51", "random"))


def test_a_missing_weights_package_is_refused_with_its_pip_line():
    with pytest.raises(WeightsError) as error:
        load_timm(TimmModel("resnet18", "package:no-such-weights"))
    assert str(error.value) == "weights package 'no-such-weights' is not installed: pip install no-such-weights"


def test_missing_and_broken_weights_files_are_refused_by_name(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights file '.*none\.pth'"):
        load_timm(TimmModel("resnet18", f"file:{tmp_path / 'none.pth'}"))
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match=r"'.*broken\.pth' cannot be read as a state dict: "):
        load_timm(TimmModel("resnet18", f"file:{broken}"))
    no_tensors = tmp_path / "list.pth"
    torch.save({"epoch": 3}, no_tensors)
    with pytest.raises(WeightsError, match=r"'.*list\.pth' holds no state dict"):
        load_timm(TimmModel("resnet18", f"file:{no_tensors}"))


def test_a_state_dict_inside_a_checkpoint_is_loaded(tmp_path):
    model = load_timm(TimmModel("tf_efficientnet_lite0", "random"))
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, path)
    assert hash_weights(load_timm(TimmModel("tf_efficientnet_lite0", f"file:{path}"))) == hash_weights(model)


def test_an_unreachable_hub_is_refused_with_the_alternatives(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as error:
        load_timm(TimmModel("efficientvit_l1.r224_in1k", "hub"))
    message = str(error.value)
    assert message.startswith("weights of 'efficientvit_l1.r224_in1k' cannot be loaded from timm's hub (")
    assert message.endswith(
        "give a state dict with --little-weights/--big-weights FILE, or --random-weights for load tests and build checks"
    )
