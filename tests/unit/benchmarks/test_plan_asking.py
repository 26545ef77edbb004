"""What is read from a server's counters, which it updates a little after its responses."""

from types import SimpleNamespace as Of

import pytest

from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.planning.asking import Counted, IdleServer, difference

MS = 1_000_000


class LateServer:
    """Answers at once, and counts each response, of 5 ms, at the third reading after it.

    Args:
        earlier: requests of 9 ms that it has answered before the first reading.
    """

    def __init__(self, earlier=0):
        self.late = [(3, 9 * MS)] * earlier  # readings until it is counted, and nanoseconds, of each response
        self.counted = []

    def infer(self, *_, **__):
        self.late.append((3, 5 * MS))

    def get_inference_statistics(self, model):
        self.late = [(left - 1, spent) for left, spent in self.late]
        self.counted += [spent for left, spent in self.late if not left]
        self.late = [entry for entry in self.late if entry[0]]
        nothing, spent = Of(count=0, ns=0), Of(count=len(self.counted), ns=sum(self.counted))
        sizes = [Of(batch_size=1, compute_infer=spent, compute_input=nothing, compute_output=nothing)]
        return Of(model_stats=[Of(inference_count=spent.count, batch_stats=sizes, inference_stats=Of(success=spent))])


def test_difference_of_two_readings_has_the_new_batches_alone():
    before = Counted(10, {1: (4, 400), 2: (3, 600)}, 1200)
    after = Counted(20, {1: (4, 400), 2: (6, 1300), 4: (1, 500)}, 2500)
    assert difference(before, after) == Counted(10, {2: (3, 700), 4: (1, 500)}, 1300)


@pytest.mark.parametrize("earlier", [0, 1, 3])
def test_response_that_is_counted_late_is_not_taken_for_the_next_one(earlier):
    seconds = IdleServer(LateServer(earlier), (4, 4, 3)).in_turns(["little"], 1, 4, 4)
    assert seconds == {"little": [0.005] * 4}


def test_server_with_other_users_is_refused():
    class Shared(LateServer):
        def infer(self, *_, **__):
            self.late += [(3, 5 * MS)] * 2

    with pytest.raises(RunFailed, match="'little' counted 2 images where 1 were sent: the server has other users"):
        IdleServer(Shared(), (4, 4, 3)).in_turns(["little"], 1, 1, 1)
