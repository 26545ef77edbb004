from littlebig_breaker import CLOSED, HALF_OPEN, OPEN, Breaker


def test_one_timeout_opens():
    breaker = Breaker(retry_s=1.0)
    breaker.failed(0.0, "no answer", timed_out=True)
    assert (breaker.state, breaker.reason) == (OPEN, "no answer")


def test_three_errors_in_a_row_open_and_an_answer_in_between_resets_the_count():
    breaker = Breaker(retry_s=1.0)
    for _ in range(2):
        breaker.failed(0.0, "odd image", timed_out=False)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0.0, "odd image", timed_out=False)
        assert breaker.state == CLOSED
    breaker.failed(0.0, "unloaded", timed_out=False)
    assert breaker.state == OPEN


def test_an_open_breaker_is_probed_once_per_interval_until_an_answer_closes_it():
    breaker = Breaker(retry_s=1.0)
    breaker.failed(10.0, "unloaded", timed_out=True)
    assert not breaker.probe_due(10.9)
    assert breaker.probe_due(11.0)
    assert breaker.state == HALF_OPEN
    assert not breaker.probe_due(11.5)
    breaker.failed(11.6, "still unloaded", timed_out=False)
    assert (breaker.state, breaker.reason) == (OPEN, "still unloaded")
    assert breaker.probe_due(12.0)
    breaker.succeeded()
    assert breaker.state == CLOSED
    assert not breaker.probe_due(99.0)


def test_a_hung_probe_does_not_block_the_next():
    breaker = Breaker(retry_s=1.0)
    breaker.failed(0.0, "hangs", timed_out=True)
    assert [breaker.probe_due(now) for now in (1.0, 2.0, 3.0)] == [True, True, True]
