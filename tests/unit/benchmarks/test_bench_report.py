"""The report of stable and of unstable rounds."""

import json

from littlebig_benchmarks.load import Reply
from littlebig_benchmarks.overload import Outcome, Trial, phase
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
        machine={
            "pair": "a-pair",
            "measured": "2026-11-28",
            "processor": "a processor",
            "cores": "2",
            "littlebig": "0.1.0",
        },
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
            Case("little", 0.15, 1, own_load=True): [run(90, sure_p50_ms=10.0, sure_p99_ms=12.0)] * 2,
            Case("little_big", 0.15, 1, own_load=True): [
                run(70, sure_p50_ms=11.0, sure_p99_ms=13.0, unsure_p50_ms=30.0, unsure_p99_ms=35.0)
            ]
            * 2,
        },
        rates={Case("little_big", 0.15, request_rate=40.0): [run(40, p50_ms=12.0, p90_ms=30.0, p99_ms=50.0)] * 2},
        front_door={
            Case("little_big", 0.15, 16, own_load=True): [run(80, escalation=0.15, p50_ms=150.0, p99_ms=300.0, **cpu)]
            * 2,
            Case("classify_12mp", 0.15, 16, own_load=True): [
                run(20, escalation=0.15, p50_ms=600.0, p99_ms=900.0, cpu_ms_per_image_preprocess=45.0, **cpu)
            ]
            * 2,
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


def test_throughput_has_bound_and_ratios_and_refuses_unstable_figures():
    text = as_markdown(results(), SCENARIO, Trial(), "littlebig bench")
    ours = lines(text, "| little_big |")[0]
    assert "| 15.0% (15.0% to 15.0%) | 75.5 (75.0 to 76.0) |" in ours
    # The bound is each round's own.
    share = [value / (1 / (1 / little + 0.15 / big)) for value, little, big in ((75, 100, 50), (76, 102, 51))]
    assert f"| {sum(share) / 2:.1%} ({min(share):.1%} to {max(share):.1%}) |" in ours
    theirs = lines(text, "| textbook |")[0]
    assert "unstable: the median of 2 rounds is known to 100% only (at most 25%)" in theirs
    assert " 40.0 " not in theirs
    assert "| processor | a processor |" in text
    assert "* A remark." in text
    assert "A run exceeds the bound, which is an estimate" in text


def test_latency_stands_beside_little_under_the_same_load():
    (ours,) = lines(as_markdown(results(), SCENARIO, Trial(), ""), "| little_big, concurrency 1, 15% escalated | 70.0")
    assert "| 11.0 (11.0 to 11.0) | 1.10 (1.10 to 1.10) | 1.00 (1.00 to 1.00) |" in ours


def test_front_door_stands_beside_canonical_images():
    (line,) = lines(as_markdown(results(), SCENARIO, Trial(), ""), "| classify_12mp |")
    assert "| 20.0 (20.0 to 20.0) | 0.25 (0.25 to 0.25) | 600.0" in line
    assert "| 45.0 (45.0 to 45.0) | 45.4 (45.4 to 45.4) |" in line


def test_gate_has_its_own_cost_the_servers_and_what_it_adds_to_a_bare_stage():
    text = as_markdown(results(), SCENARIO, Trial(), "")
    cells = [cell.strip() for cell in lines(text, "| little_big | 32 | 2,000")[0].split("|")]
    assert cells[5:11] == [
        *("0.200 (0.200 to 0.200)", "0.25 (0.25 to 0.25)"),
        *("0.400 (0.400 to 0.400)", "0.40 (0.40 to 0.40)"),
        *("0.200 (0.200 to 0.200)", "0.25 (0.25 to 0.25)"),
    ]
    cells = [cell.strip() for cell in lines(text, "| little | 32 | 4,000")[0].split("|")]
    assert cells[5:11] == ["", "", "0.200 (0.200 to 0.200)", "0.20 (0.20 to 0.20)", "", ""]


def test_json_has_every_round_the_command_and_the_machine():
    text = as_json(results(), SCENARIO, Trial(), "littlebig bench --rounds 2")
    result = json.loads(text)
    assert result["command"] == "littlebig bench --rounds 2"
    assert result["machine"]["processor"] == "a processor"
    textbook = next(case for case in result["throughput"] if case["contender"] == "textbook")
    assert [one["images_per_second"] for one in textbook["rounds"]] == [60, 20]
    assert textbook["concurrency"] == 16
    assert text.count("\n") < 60  # one line per round


def test_overload_is_a_section_of_the_report():
    outcome = phase([Reply(0, 0.0, 100.0, label=7, stage=1), Reply(0, 0.5, 20.0, label=3, stage=0)], None)
    only = Results(overload=Outcome("2.51", 80.0, 106.0, 600.0, 600.0, *[outcome] * 4))
    assert "## Overload\n\nThe gate answers 80.0 images/s (concurrency 16)" in as_markdown(only, SCENARIO, Trial(), "")
    result = json.loads(as_json(only, SCENARIO, Trial(), ""))["overload"]
    assert (result["trial"]["excess"], result["overloaded"]["sent"], result["overloaded"]["accuracy"]) == (1.5, 2, None)


def test_plots_show_the_measured_parts_and_name_unstable_figures(tmp_path):
    written = draw(results(), SCENARIO, tmp_path)
    assert sorted(path.name for path in written) == [
        "front-door.svg",
        "gate-alone.svg",
        "latency.svg",
        "request-rate.svg",
        "throughput.svg",
    ]
    throughput = (tmp_path / "throughput.svg").read_text()
    assert "bound, 15% escalated" in throughput
    assert throughput.count("unstable") == 1
    assert draw(Results(), SCENARIO, tmp_path) == []
    # The in-process cascade is faster than the bound.
    assert "estimated bound, 15% escalated" in (tmp_path / "throughput.svg").read_text()
    for path in tmp_path.glob("*.svg"):
        assert "a-pair, 2 cores of a processor, 2026-11-28" in path.read_text()
    first = (tmp_path / "latency.svg").read_bytes()
    draw(results(), SCENARIO, tmp_path)
    assert (tmp_path / "latency.svg").read_bytes() == first


def test_request_rates_follow_the_throughput_of_the_machine():
    pace = find_pace(SCENARIO, results().throughput, lambda case: run(1.0))
    assert pace.big == 50.5
    assert pace.limit == 1 / (1 / 101 + 0.15 / 50.5)
    rates = [case.request_rate for case in rate_cases(SCENARIO, ["little_big"], pace) if case.contender == "big"]
    assert rates == [0.4 * pace.limit]  # big alone cannot sustain more
    assert find_pace(SCENARIO, {}, lambda case: run(50.0)) == Pace(50.0, 1 / (1 / 50 + 0.15 / 50))


def test_every_latency_has_little_beside_it_under_the_same_load():
    cases = latency_cases(SCENARIO, ["little_big", "textbook"], Pace(50, 80))
    loads = {(case.concurrency, case.request_rate) for case in cases if case.contender == "little"}
    assert loads == {(16, None), (1, None), (0, 48.0)}
    assert {(case.concurrency, case.request_rate) for case in cases} == loads
    assert all(case.own_load for case in cases)


def test_little_and_big_are_measured_once_per_round_for_all_escalation_rates():
    cases = throughput_cases(Scenario(escalations=(0.15, 0.35)), ["little_big", "textbook"])
    assert [case.contender for case in cases].count("little") == 1
    assert [case.contender for case in cases].count("little_big") == 2
