"""Two pools: little on one kind of device, big on another."""

import json

import pytest
from click.testing import CliRunner
from tests.planning import curve, curves

from littlebig_benchmarks.planning.capacity import Target
from littlebig_benchmarks.planning.curves import write_curves
from littlebig_benchmarks.planning.pools import Prices, split
from littlebig_cli.plan import command

MS = 1e-3
CHEAP = curves(curve(10 * MS, 10 * MS), curve(100 * MS, 100 * MS), capacity=2.0, instances=2, kind="cpu")
DEAR = curves(curve(1 * MS, 1 * MS), curve(4 * MS, 4 * MS))


def test_each_pool_has_the_replicas_for_the_images_that_reach_it():
    little, big, alone = split(CHEAP, DEAR, Target(1000, 0.2, 0.5), Prices(1.0, 10.0))
    assert (little.capacity.images_per_second, little.replicas) == (pytest.approx(200), 10)
    assert (big.capacity.images_per_second, big.rate, big.replicas) == (pytest.approx(250), 200, 2)
    assert (alone.rate, alone.replicas) == (1000, 8)
    assert (little.cost, big.cost, alone.cost) == (10, 20, 80)
    assert (little.utilisation, big.utilisation) == (pytest.approx(0.5), pytest.approx(0.4))


def test_without_escalations_big_needs_nothing():
    _, big, _ = split(CHEAP, DEAR, Target(1000, 0.0), Prices())
    assert (big.replicas, big.utilisation, big.cost) == (0, 0.0, None)


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "cheap.json", tmp_path / "dear.json"
    for path, measured in zip(paths, (CHEAP, DEAR), strict=True):
        write_curves(path, measured)
    return paths


def plan(files, *words):
    given = [
        "--pair",
        "made-up",
        "--curves",
        files[0],
        "--rate",
        1000,
        "--escalation",
        0.2,
        "--utilisation",
        0.5,
        *words,
    ]
    return CliRunner().invoke(command, [str(word) for word in given])


def test_the_table_has_both_pools_and_their_costs(files):
    result = plan(files, "--big-curves", files[1], "--price", 1, "--big-price", 10)
    assert result.stdout.splitlines()[:8] == [
        "# made-up in two pools: 1000 images/s, 20.0% escalated, utilisation at most 50%",
        "",
        "|  | device | replicas | images/s per replica | limited by | utilisation | per hour |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| little and gate | a device of no kind | 10 | 200 | the device | 50% | 10.00 |",
        "| big | a device of no kind | 2 | 250 | the device | 40% | 20.00 |",
        "| big alone | a device of no kind | 8 | 250 | the device | 50% | 80.00 |",
        "",
    ]
    assert "The two pools cost 30.00 per hour, big alone 80.00, 2.67 times as much." in result.stdout


def test_without_prices_the_table_has_no_costs(files):
    output = plan(files, "--big-curves", files[1]).stdout
    assert "per hour" not in output
    assert "| big | a device of no kind | 2 | 250 | the device | 40% |" in output


def test_json_has_both_pools(files):
    pools = json.loads(plan(files, "--big-curves", files[1], "--big-price", 10, "--format", "json").stdout)["pools"]
    assert (pools["big"]["replicas"], pools["big"]["cost_per_hour"]) == (2, 20)
    assert pools["little and gate"]["cost_per_hour"] is None


def test_prices_without_a_second_pool_are_refused(files):
    result = plan(files, "--price", 1)
    assert result.exit_code == 2
    assert "--price and --big-price are for two pools: give --big-curves too" in result.stderr


def test_a_price_below_nothing_is_refused(files):
    result = plan(files, "--big-curves", files[1], "--price", -1)
    assert (result.exit_code, result.stderr) == (1, "littlebig: a price of -1 per hour is no amount: give 0 or more\n")
