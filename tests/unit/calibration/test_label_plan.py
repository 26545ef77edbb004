"""Which images `littlebig label` draws and lists, and what their labels prove."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_tables import pair_table

from littlebig_calibration.disagreements import NO_LABEL
from littlebig_calibration.errors import CalibrationError, TableError
from littlebig_calibration.labelling.forecast import forecast
from littlebig_calibration.labelling.label_list import label_list
from littlebig_calibration.labelling.names import number_of_classes
from littlebig_calibration.labelling.page import question, shown_names
from littlebig_calibration.labelling.plan import Goal, divide, draw_pool, image_order, make_plan, read_plan, write_plan
from littlebig_calibration.labelling.second_pool import proved, second_plan
from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import NO_CLASS, PLANNING, UNCLEAR, PredictionTable
from littlebig_calibration.writing import write_table

GOAL = Goal(little="small", big="large")


def without_labels(table: PredictionTable) -> PredictionTable:
    return replace(table, labels=np.full(len(table.files), NO_LABEL, dtype=np.int32))


@pytest.fixture(scope="module")
def truth() -> PredictionTable:
    return pair_table(20_000)


def labelled(table: PredictionTable, truth: PredictionTable, rows: np.ndarray) -> PredictionTable:
    labels = table.labels.copy()
    labels[rows] = truth.labels[rows]
    return replace(table, labels=labels)


def test_planning_images_pool_and_list_do_not_overlap_and_need_no_labels(truth: PredictionTable) -> None:
    table = without_labels(truth)
    plan, choice = make_plan(table, GOAL, 500)
    pool = draw_pool(table, plan)
    assert (len(pool.planning), len(pool.rows)) == (1000, choice.images)
    assert not set(pool.planning) & set(pool.rows)
    listed = pool.to_label(table.labels, plan.budget)
    assert len(listed) == 500
    assert set(listed) <= set(pool.rows)
    small, large = truth.models
    assert np.all(small.label[listed] != large.label[listed])
    assert np.all(np.diff(small.confidence[listed]) <= 0)


def test_the_draw_depends_on_names_only(truth: PredictionTable) -> None:
    other = replace(truth, models=truth.models[::-1], labels=truth.labels[::-1])
    assert np.array_equal(image_order(truth, 0), image_order(other, 0))
    assert not np.array_equal(image_order(truth, 0), image_order(truth, 1))
    assert np.array_equal(np.sort(image_order(truth, 0)), np.arange(20_000))


def test_known_labels_are_not_asked_again(truth: PredictionTable) -> None:
    table = without_labels(truth)
    plan, _ = make_plan(table, GOAL, 300)
    pool = draw_pool(table, plan)
    first = pool.to_label(table.labels, 300)[:100]
    assert not set(pool.to_label(labelled(table, truth, first).labels, 300)) & set(first)


def test_a_plan_is_kept_as_json_and_gives_the_same_pool(truth: PredictionTable, tmp_path: Path) -> None:
    plan, _ = make_plan(truth, replace(GOAL, score="margin", max_accuracy_loss=0.01), 400)
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan
    (tmp_path / "plan.json").write_text('{"version": 1, "goal": {}}')
    with pytest.raises(TableError, match=r"is not a plan that 'littlebig label' wrote"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(TableError, match=r"has no plan\.json: give the folder"):
        read_plan(tmp_path / "nothing" / "plan.json")


def test_a_pool_of_other_predictions_is_refused(truth: PredictionTable) -> None:
    plan, _ = make_plan(truth, GOAL, 400)
    with pytest.raises(TableError, match=r"^the list was made from other predictions"):
        draw_pool(pair_table(20_000, seed=2), plan)


def test_divided_table_says_what_each_image_is_for(truth: PredictionTable, tmp_path: Path) -> None:
    plan, _ = make_plan(truth, GOAL, 300)
    pool = draw_pool(truth, plan)
    write_table(divide(truth, plan), tmp_path / "t.parquet")
    table = read_tables([tmp_path / "t.parquet"])
    assert table.part is not None
    planning = {truth.files[row] for row in pool.planning}
    assert {file for file, part in zip(table.files, table.part, strict=True) if part == PLANNING} == planning
    assert np.count_nonzero(table.part == 1) == plan.images


def test_labels_of_the_list_alone_certify_a_threshold(truth: PredictionTable) -> None:
    table = without_labels(truth)
    plan, _ = make_plan(table, replace(GOAL, max_accuracy_loss=0.01), 500)
    rows = draw_pool(table, plan).to_label(table.labels, plan.budget)
    found = proved(labelled(table, truth, rows), plan)
    assert found.threshold is not None
    small, large = truth.models
    kept = small.confidence >= np.float32(found.threshold)
    loss = ((large.label == truth.labels).astype(int) - (small.label == truth.labels))[kept].sum() / 20_000
    assert loss <= 0.01
    assert found.labels_used <= 500


def test_left_labels_go_to_a_pool_of_fresh_images() -> None:
    truth = pair_table(60_000, skill=(0.5, 1.2))
    table = without_labels(truth)
    plan, _ = make_plan(table, GOAL, 1000)
    first = draw_pool(table, plan)
    table = labelled(table, truth, first.to_label(table.labels, 1000))
    found = proved(table, plan)
    second, _ = second_plan(table, plan)
    assert second.budget == 1000 - found.labels_used
    assert second.error_rate == pytest.approx(0.15 * 0.05)
    fresh = draw_pool(table, second)
    assert not set(fresh.rows) & {*first.rows, *first.planning}
    part = divide(table, plan, second).part
    assert part is not None
    assert np.bincount(part).tolist() == [plan.planning, plan.images, second.images]


def test_a_second_pool_waits_for_the_first_ones_labels(truth: PredictionTable) -> None:
    table = without_labels(truth)
    plan, _ = make_plan(table, GOAL, 500)
    with pytest.raises(TableError, match=r"labels are missing: the walk starts at"):
        second_plan(table, plan)


def test_forecast_brackets_what_happens(truth: PredictionTable) -> None:
    plan, _ = make_plan(truth, GOAL, 500)
    loose, strict = forecast(truth, plan, 0.02), forecast(truth, plan, 0.0)
    assert loose is not None
    assert strict is not None
    for each in (loose, strict):
        assert 0 <= each.mild <= each.harsh <= 1
    assert loose.mild <= strict.harsh
    assert forecast(truth, replace(plan, budget=10), 0.0) is None


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.0, 0.01])
def test_planned_pools_keep_the_promise(published_table: PredictionTable, tolerance: float) -> None:
    little, big = (published_table.model(name) for name in ("ResNet50", "ViT"))
    loss = (big.label == published_table.labels).astype(int) - (little.label == published_table.labels)
    draw, draws, broken, escalated = np.random.default_rng(11), 200, 0, []
    for number in range(draws):
        rows = draw.integers(0, len(loss), 8000)
        models = [replace(model, label=model.label[rows], confidence=model.confidence[rows]) for model in (little, big)]
        files = tuple(f"{number} {place:05d}" for place in range(8000))
        table = PredictionTable(files, np.full(8000, NO_LABEL, dtype=np.int32), tuple(models))
        truth = replace(table, labels=published_table.labels[rows])
        plan, _ = make_plan(table, Goal(little="ResNet50", big="ViT", max_accuracy_loss=tolerance), 500)
        table = labelled(table, truth, draw_pool(table, plan).to_label(table.labels, 500))
        found = [proved(table, plan)]
        try:
            second, _ = second_plan(table, plan)
        except CalibrationError:
            pass
        else:
            table = labelled(table, truth, draw_pool(table, second).to_label(table.labels, second.budget))
            found.append(proved(table, second))
        kept = little.confidence >= min((each.threshold for each in found if each.threshold is not None), default=2.0)
        broken += loss[kept].sum() / len(loss) > tolerance + 1e-9
        escalated.append(1 - kept.mean())
    assert broken / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    assert np.median(escalated) <= 0.35


@pytest.mark.parametrize(
    "content",
    [
        "file,label\na.jpg,2\nb.jpg,none\nc.jpg,Unclear\nd.jpg,\n",
        "\ufefffile,label\r\na.jpg,2\r\nb.jpg, none\r\nc.jpg,unclear\r\nd.jpg,\r\n",
        'file,label,suggestion_1\na.jpg,2,"2 x, y"\nb.jpg,none,1 z\nc.jpg,unclear,1 z\n',
        "file , label\na.jpg,2\nb.jpg,none\nc.jpg,unclear\n",
    ],
    ids=["as exported", "byte order mark", "more columns", "heading with blanks"],
)
def test_filled_lists_are_read(tmp_path: Path, content: str) -> None:
    table = pair_table(4)
    write_table(without_labels(replace(table, files=("a.jpg", "b.jpg", "c.jpg", "d.jpg"))), tmp_path / "t.parquet")
    (tmp_path / "labels.csv").write_text(content, encoding="utf-8")
    assert read_tables([tmp_path / "t.parquet"], tmp_path / "labels.csv").labels.tolist() == [
        2,
        NO_CLASS,
        UNCLEAR,
        NO_LABEL,
    ]


def test_file_names_with_quotes_and_line_breaks_are_read_back(tmp_path: Path) -> None:
    names = ('a "b"\n.jpg', "<script>,.jpg")
    write_table(without_labels(replace(pair_table(2), files=names)), tmp_path / "t.parquet")
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label"), *((name, 3) for name in names)])
    assert read_tables([tmp_path / "t.parquet"], tmp_path / "labels.csv").labels.tolist() == [3, 3]


def test_list_holds_any_file_name_and_both_suggestions() -> None:
    names = shown_names(["hen", "cock"], 3)
    text = label_list([question('a "b",\n=1.jpg', (0, 2), names)], names)
    row = next(csv.DictReader(io.StringIO(text, newline="")))
    assert row == {"file": 'a "b",\n=1.jpg', "label": "", "suggestion_1": "2 class 2", "suggestion_2": "0 hen"}


def test_class_names_must_fit_the_table() -> None:
    assert number_of_classes(pair_table(100), None) == 10
    with pytest.raises(TableError, match=r"^9 class names for 10 classes: give one name a line"):
        number_of_classes(pair_table(100), ["x"] * 9)
