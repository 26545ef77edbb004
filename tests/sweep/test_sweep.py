"""A small part of the sweep: graphs that users bring along are built, or refused in one true line."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorrt_rtx")

from tests.sweep.__main__ import GROUPS, table, try_named
from tests.sweep.graphs import REFUSED
from tests.sweep.trying import Tried


@pytest.mark.slow
@pytest.mark.parametrize("name", GROUPS["other ONNX graphs"])
def test_a_graph_of_every_kind_is_built_or_refused_in_one_line(name):
    tried = try_named(name)
    assert tried.failed == ("export" if name in REFUSED else "")
    assert tried.reason.endswith(REFUSED.get(name, ""))
    assert "\n" not in tried.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit"])
def test_a_timm_model_of_random_weights_is_built(name):
    tried = try_named(name)
    assert (tried.failed, tried.reason) == ("", "")
    assert tried.parity < 5e-3


def test_the_table_names_each_failure():
    results = {"test_vit": Tried("test_vit", 160), "vgg11": Tried("vgg11", failed="build", reason="it is too large")}
    lines = table(results)
    assert "| transformers, absolute positions: 1 of 1 | test_vit (160) |" in lines
    assert lines[-1] == "* vgg11 (build): it is too large"
