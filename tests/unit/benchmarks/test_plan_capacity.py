"""The planner: the fewest replicas that keep a target are really the fewest, and what cannot be kept is refused."""

from dataclasses import replace

import pytest
from tests.planning import curve, curves

from littlebig_benchmarks.planning.arrivals import OpenLoad
from littlebig_benchmarks.planning.errors import PlanRefused, TargetUnreachable
from littlebig_benchmarks.planning.planner import Search, Target, most_images_per_second, plan
from littlebig_benchmarks.planning.simulation import Layout, simulate

MS = 1e-3
QUICK = Search(delays=(0.0, 0.002), requests=4000)


def silent(_):
    pass


@pytest.fixture(scope="module")
def made():
    return curves(curve(1.5 * MS, 0.3 * MS), curve(4 * MS, 1.2 * MS), gate=0.2 * MS, capacity=1.2, instances=2)


@pytest.fixture(scope="module")
def target():
    return Target(OpenLoad(6000), 0.15, 40)


@pytest.fixture(scope="module")
def found(made, target):
    return plan(made, target, QUICK, silent)


@pytest.mark.parametrize("entry", ["cascade", "big"])
def test_the_target_is_kept_and_with_one_replica_fewer_it_is_not(made, target, found, entry):
    choice = found.choices[entry]

    def p99(replicas):
        load = replace(target.load, replicas=replicas)
        return simulate(made, choice.layout, load, 0.15, QUICK.requests, QUICK.seed).percentile(99)

    assert p99(choice.replicas) == choice.outcome.percentile(99) <= 40
    assert choice.replicas > 1
    assert p99(choice.replicas - 1) > 40


def test_the_cascade_needs_fewer_replicas_than_big_alone(found):
    assert found.ratio == found.choices["big"].replicas / found.choices["cascade"].replicas > 1
    assert found.impossible == {}


def test_no_other_layout_that_was_tried_needs_fewer(made, target, found):
    fewer = replace(target.load, replicas=found.choices["cascade"].replicas - 1)
    for little in (1, 2):
        for big in (1, 2):
            outcome = simulate(made, Layout("cascade", little, big), fewer, 0.15, QUICK.requests, QUICK.seed)
            assert outcome.percentile(99) > 40


def test_no_more_instances_are_proposed_than_were_measured(made, target):
    single = replace(made, big=replace(made.big, instances=1))
    choices = plan(single, target, QUICK, silent).choices
    assert [choice.layout.big for choice in choices.values()] == [1, 1]
    assert choices["cascade"].layout.little <= 2


def test_the_same_seed_gives_the_same_plan(made, target, found):
    again = plan(made, target, QUICK, silent)
    for entry, choice in found.choices.items():
        assert again.choices[entry].layout == choice.layout
        assert again.choices[entry].replicas == choice.replicas
        assert (again.choices[entry].outcome.answered == choice.outcome.answered).all()


def test_a_laxer_target_never_needs_more(made, target, found):
    lax = plan(made, replace(target, p99_ms=100), QUICK, silent)
    assert all(lax.choices[entry].replicas <= found.choices[entry].replicas for entry in ("cascade", "big"))


def test_a_cascade_that_escalates_everything_needs_at_least_as_many_as_big_alone(made, target):
    all_of_them = plan(made, replace(target, escalation=1.0), QUICK, silent)
    assert all_of_them.choices["cascade"].replicas >= all_of_them.choices["big"].replicas


def test_no_replica_exceeds_what_its_stages_can_do(made, target):
    for layout in (Layout("cascade", 2, 1), Layout("cascade", 1, 2), Layout("big", 1, 1)):
        filled = layout.of(made)
        most = most_images_per_second(made, filled, target)
        outcome = simulate(made, filled, OpenLoad(3 * most), 0.15, 10_000)
        assert 0.5 * most < outcome.images_per_second < 1.02 * most


def test_a_target_below_what_a_lone_image_takes_is_refused_for_each_entry(made, target):
    with pytest.raises(TargetUnreachable) as refused:
        plan(made, replace(target, p99_ms=3), QUICK, silent)
    assert str(refused.value) == (
        "cascade: no number of replicas keeps a p99 of 3 ms, because an image that meets no other takes 5.7 ms (p99) on "
        "a device of no kind: allow more milliseconds, or take a faster device or pair; "
        "big: no number of replicas keeps a p99 of 3 ms, because an image that meets no other takes 4.0 ms (p99) on "
        "a device of no kind: allow more milliseconds, or take a faster device or pair"
    )


def test_where_only_big_alone_keeps_the_target_there_is_no_ratio(made, target):
    found = plan(made, replace(target, p99_ms=5, load=OpenLoad(20)), QUICK, silent)
    assert list(found.choices) == ["big"]
    assert list(found.impossible) == ["cascade"]
    assert found.ratio is None


def test_more_replicas_than_allowed_are_not_proposed(made, target):
    with pytest.raises(TargetUnreachable) as refused:
        plan(made, target, replace(QUICK, replicas=2), silent)
    assert str(refused.value).startswith(
        "cascade: no layout keeps a p99 of 40 ms with up to 2 replicas (5.7 ms without other load): allow more"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"escalation": -0.1}, "escalation -0.1 cannot be: choose a fraction from 0 to 1, such as 0.15"),
        ({"p99_ms": 0}, "a p99 of 0 ms cannot be a target: give milliseconds above 0"),
        ({"p99_ms": float("inf")}, "a p99 of inf ms cannot be a target: give milliseconds above 0"),
    ],
)
def test_targets_that_cannot_be_are_refused(target, words, message):
    with pytest.raises(PlanRefused) as refused:
        replace(target, **words)
    assert str(refused.value) == message
