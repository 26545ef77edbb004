"""A search equals calibrating every pair by itself, and its front is a Pareto front."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_tables import pair_table

from littlebig_calibration.curve import cascade_curve, paper_threshold
from littlebig_calibration.errors import TableError
from littlebig_calibration.outcomes import DecisionRule, outcomes
from littlebig_calibration.search_plot import search_plot
from littlebig_calibration.searching import Option, pareto_front, read_costs, read_folder, search
from littlebig_calibration.table import PredictionTable
from littlebig_calibration.writing import write_table

COSTS = {"tiny": 1.0, "small": 2.0, "medium": 5.0, "large": 20.0}


def four_models(images: int = 3000) -> PredictionTable:
    low, high = pair_table(images, skill=(0.9, 1.0)), pair_table(images, skill=(1.05, 1.2))
    models = [*low.models, *high.models]
    coarse = np.round(models[1].confidence, 2)
    models[1] = replace(models[1], confidence=coarse)
    return replace(low, models=tuple(replace(model, name=name) for model, name in zip(models, COSTS, strict=True)))


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_every_pair_equals_a_calibration_of_its_own(loss: float) -> None:
    table = four_models()
    result = search(table, COSTS, loss)
    for big in ("small", "medium", "large"):
        cheapest = {}
        for little in (name for name in COSTS if COSTS[name] < COSTS[big]):
            curve = cascade_curve(outcomes(table, little, big), DecisionRule())
            threshold = paper_threshold(curve, loss)
            place = curve.place(threshold)
            rate = curve.escalated[place] / curve.images
            lost = (curve.lost - curve.won)[place] / curve.images
            accuracy = (table.model(big).label == table.labels).mean() - lost
            cheapest[COSTS[little] + rate * COSTS[big]] = (little, threshold, rate, accuracy)
        cost = min(cheapest)
        best = [option for option in result.best if option.big == big]
        if cost >= COSTS[big]:
            assert best == []
            continue
        little, threshold, rate, accuracy = cheapest[cost]
        assert best[0].little == little
        assert best[0].threshold == pytest.approx(threshold)
        assert (best[0].cost, best[0].escalation_rate, best[0].accuracy) == pytest.approx((cost, rate, accuracy))
    assert result.best
    assert result.pairs == 6


def option(name: str, cost: float, accuracy: float) -> Option:
    return Option(None, name, None, 1.0, accuracy, cost, 0.0)


def test_pareto_front_leaves_out_dominated_options() -> None:
    options = [
        option("dear", 9, 0.9),
        option("beaten", 5, 0.6),
        option("cheap", 1, 0.5),
        option("twin", 4, 0.7),
        option("worse twin", 4, 0.65),
        option("as good, dearer", 9.5, 0.9),
    ]
    assert [kept.big for kept in pareto_front(options)] == ["cheap", "twin", "dear"]


def folder(path: Path) -> Path:
    table = four_models(200)
    for model in table.models:
        write_table(replace(table, models=(model,)), path / f"{model.name}.parquet")
    lines = [f"{name},{cost}" for name, cost in COSTS.items()]
    (path / "costs.csv").write_text("\n".join(["model,cost", *lines]) + "\n")
    return path


def test_cost_table_in_the_folder_is_not_read_as_predictions(tmp_path: Path) -> None:
    table, costs = read_folder(folder(tmp_path), None, tmp_path / "costs.csv")
    assert sorted(model.name for model in table.models) == sorted(COSTS)
    assert costs == COSTS


def test_missing_files_and_costs_are_reported(tmp_path: Path) -> None:
    costs = tmp_path / "costs.csv"
    folder(tmp_path)
    costs.write_text("model,cost\ntiny,1\nlarge,2\n")
    with pytest.raises(TableError, match=r"^costs\.csv: no cost for medium, small: add a row for each$"):
        read_folder(tmp_path, None, costs)
    for name in ("tiny", "small", "medium"):
        (tmp_path / f"{name}.parquet").unlink()
    with pytest.raises(TableError, match=r"has predictions of one model: a pair needs two$"):
        read_folder(tmp_path, None, costs)
    (tmp_path / "large.parquet").unlink()
    with pytest.raises(TableError, match=r"has no \.csv or \.parquet table$"):
        read_folder(tmp_path, None, costs)
    with pytest.raises(TableError, match=r"none is not a folder$"):
        read_folder(tmp_path / "none", None, costs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,price\na,1\n", "c.csv: a cost table has the columns 'model' and 'cost', and a row per model"),
        ("model,cost\n", "c.csv: a cost table has the columns 'model' and 'cost', and a row per model"),
        ("model,cost\na,cheap\n", "c.csv: the cost of a is 'cheap', not a number above 0"),
        ("model,cost\na,0\n", "c.csv: the cost of a is '0', not a number above 0"),
        ("model,cost\na\n", "c.csv: the cost of a is 'None', not a number above 0"),
    ],
)
def test_wrong_cost_table_is_reported_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(TableError) as caught:
        read_costs(path)
    assert str(caught.value) == message


def test_plot_shows_every_option_once_and_escapes_names() -> None:
    table = four_models()
    table = replace(table, models=(replace(table.models[0], name="a<b"), *table.models[1:]))
    result = search(table, {**COSTS, "a<b": 1.0})
    drawing = search_plot(result, "GMACs", "val", "2026-11-28")
    assert "a<b" not in drawing
    names = {option.name for option in (*result.singles, *result.best, *result.front)}
    assert drawing.count("<circle") == len(names)
