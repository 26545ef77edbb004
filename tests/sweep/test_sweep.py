"""A small part of the sweep: graphs that users bring along are built, or refused in one true line."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorrt_rtx")

from tests.sweep.__main__ import GROUPS, table, try_named
from tests.sweep.trying import Tried

REFUSED = {
    "fixed batch in a Concat": "has a fixed batch of 1; export it with a dynamic batch",
    "fixed batch that is averaged": "has a fixed batch of 1; export it with a dynamic batch",
    "float64": "Could not find an implementation for Conv(11) node with name ''; export it in float32 or float16",
    "bfloat16": "Could not find an implementation for Conv(22) node with name ''; export it in float32 or float16",
    "another size": "takes tensor(float) ['n', 3, 96, 96]: set size = 96 in the pair's file, which says 64",
    "grey input": "['n', 1, 64, 64], grey images; a stage's images are RGB: put the conversion into the model",
    "input of rank 2": "[batch, 3, 64, 64] or [batch, 64, 64, 3] in float, float16, double or uint8",
    "input of rank 5": "[batch, 3, 64, 64] or [batch, 64, 64, 3] in float, float16, double or uint8",
    "sequence output": "not the scores, float [batch, classes]: a classifier has such an output",
}


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
