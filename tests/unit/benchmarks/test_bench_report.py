"""What a report says of rounds, stable or not."""

import json

from littlebig_benchmarks.plots import draw
from littlebig_benchmarks.report import as_json, as_markdown
from littlebig_benchmarks.rounds import Case
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.suite import Pace, Results, find_pace, latency_cases, rate_cases, throughput_cases

SCENARIO = Scenario(rounds=2, escalations=(0.15,), concurrency=(16,))


def run(rate, **measures):
    return {"images_per_second": rate, "other_load": 0.01, **measures}


def results():
    cpu = {"cpu_ms_per_image_little_big": 0.2, "cpu_ms_per_image_tritonserver": 0.1, "cpu_ms_per_image_little": 0.1}
    textbook = {"cpu_ms_per_image_textbook": 0.8, "cpu_ms_per_image_tritonserver": 0.1, "cpu_ms_per_image_little": 0.1}
    bare = {"cpu_ms_per_image_tritonserver": 0.1, "cpu_ms_per_image_little": 0.1}
    return Results(
        machine={"processor": "a processor", "littlebig": "0.1.0"},
        throughput={
            Case("little", None, 16): [run(100), run(102)],
            Case("big", None, 16): [run(50), run(51)],
            Case("little_big", 0.15, 16): [
                run(75, escalation=0.15, little_batch=8.0, little_queue_ms=3.0, little_compute_ms=70.0),
                run(76, escalation=0.15, little_batch=8.0, little_queue_ms=3.0, little_compute_ms=70.0),
            ],
            Case("textbook", 0.15, 16): [run(60, escalation=0.15), run(20, escalation=0.15)],
            Case("in_process", 0.15, 16): [run(80, escalation=0.15), run(80, escalation=0.15)],
        },
        latency={
            Case("little", 0.15, 1, apart=True): [run(90, sure_p50_ms=10.0, sure_p99_ms=12.0)] * 2,
            Case("little_big", 0.15, 1, apart=True): [
                run(70, sure_p50_ms=11.0, sure_p99_ms=13.0, unsure_p50_ms=30.0, unsure_p99_ms=35.0)
            ]
            * 2,
        },
        rates={
            Case("little_big", 0.15, rate=40.0): [run(40, p50_ms=12.0, p90_ms=30.0, p99_ms=50.0)] * 2,
        },
        gate={
            Case("little", 0.15, 32): [run(4000, p50_ms=7.0, **bare)] * 2,
            Case("little_big", 0.15, 32): [run(2000, p50_ms=15.0, **cpu)] * 2,
            Case("textbook", 0.15, 32): [run(1000, p50_ms=30.0, **textbook)] * 2,
        },
        notes=["A remark."],
    )


def lines(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def test_the_table_has_bound_and_ratios_and_refuses_what_was_not_stable():
    text = as_markdown(results(), SCENARIO, "littlebig bench")
    ours = lines(text, "| little_big |")[0]
    assert "| 15.0% (15.0% to 15.0%) | 75.5 (75.0 to 76.0) |" in ours
    # The bound is each round's own.
    share = [value / (1 / (1 / little + 0.15 / big)) for value, little, big in ((75, 100, 50), (76, 102, 51))]
    assert f"| {sum(share) / 2:.1%} ({min(share):.1%} to {max(share):.1%}) |" in ours
    theirs = lines(text, "| textbook |")[0]
    assert "unstable: 2 rounds tell the median to 100% only (at most 25%)" in theirs
    assert " 40.0 " not in theirs
    assert "| processor | a processor |" in text
    assert "* A remark." in text


def test_latency_stands_beside_little_under_the_same_load():
    (ours,) = lines(as_markdown(results(), SCENARIO, ""), "| little_big, 1 client, 15% escalated | 70.0")
    assert "| 11.0 (11.0 to 11.0) | 1.10 (1.10 to 1.10) | 1.00 (1.00 to 1.00) |" in ours


def test_the_gate_s_cost_is_its_own_then_the_server_s_then_what_it_adds_to_a_stage_asked_directly():
    text = as_markdown(results(), SCENARIO, "")
    cells = [cell.strip() for cell in lines(text, "| little_big | 32 | 2,000")[0].split("|")]
    assert cells[5:11] == [
        *("0.200 (0.200 to 0.200)", "0.25 (0.25 to 0.25)"),
        *("0.400 (0.400 to 0.400)", "0.40 (0.40 to 0.40)"),
        *("0.200 (0.200 to 0.200)", "0.25 (0.25 to 0.25)"),
    ]
    cells = [cell.strip() for cell in lines(text, "| little | 32 | 4,000")[0].split("|")]
    assert cells[5:11] == ["", "", "0.200 (0.200 to 0.200)", "0.20 (0.20 to 0.20)", "", ""]


def test_json_keeps_every_round_command_and_machine():
    found = json.loads(as_json(results(), SCENARIO, "littlebig bench --rounds 2"))
    assert found["command"] == "littlebig bench --rounds 2"
    assert found["machine"]["processor"] == "a processor"
    textbook = next(case for case in found["throughput"] if case["contender"] == "textbook")
    assert [one["images_per_second"] for one in textbook["rounds"]] == [60, 20]
    assert textbook["clients"] == 16


def test_plots_are_drawn_of_what_was_measured_and_say_unstable(tmp_path):
    written = draw(results(), SCENARIO, tmp_path)
    assert sorted(path.name for path in written) == [
        "gate-alone.svg",
        "latency.svg",
        "offered-rate.svg",
        "throughput.svg",
    ]
    throughput = (tmp_path / "throughput.svg").read_text()
    assert "bound, 15% escalated" in throughput
    assert throughput.count("unstable") == 1
    assert draw(Results(), SCENARIO, tmp_path) == []
    first = (tmp_path / "latency.svg").read_bytes()
    draw(results(), SCENARIO, tmp_path)
    assert (tmp_path / "latency.svg").read_bytes() == first


def test_rates_follow_the_pace_of_the_machine():
    pace = find_pace(SCENARIO, results().throughput, lambda case: run(1.0))
    assert pace.big == 50.5
    assert pace.limit == 1 / (1 / 101 + 0.15 / 50.5)
    offered = [case.rate for case in rate_cases(SCENARIO, ["little_big"], pace) if case.contender == "big"]
    assert offered == [0.4 * pace.limit]  # beyond, big alone cannot follow
    assert find_pace(SCENARIO, {}, lambda case: run(50.0)) == Pace(50.0, 1 / (1 / 50 + 0.15 / 50))


def test_every_latency_has_little_under_the_same_load():
    cases = latency_cases(SCENARIO, ["little_big", "textbook"], Pace(50, 80))
    loads = {(case.clients, case.rate) for case in cases if case.contender == "little"}
    assert loads == {(16, None), (1, None), (0, 48.0)}
    assert {(case.clients, case.rate) for case in cases} == loads
    assert all(case.apart for case in cases)


def test_little_and_big_are_measured_once_per_round_whatever_the_escalation():
    cases = throughput_cases(Scenario(escalations=(0.15, 0.35)), ["little_big", "textbook"])
    assert [case.contender for case in cases].count("little") == 1
    assert [case.contender for case in cases].count("little_big") == 2
