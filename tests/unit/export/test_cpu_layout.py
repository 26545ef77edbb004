import pytest

from littlebig_export.repository import CpuLayout, cpu_layout


@pytest.mark.parametrize(
    ("cores", "layout"),
    [(1, CpuLayout(1, 1)), (2, CpuLayout(2, 1)), (4, CpuLayout(4, 1)), (6, CpuLayout(4, 1)), (16, CpuLayout(4, 4))],
)
def test_each_core_gets_a_thread_in_at_most_four_instances(cores, layout):
    assert cpu_layout(cores) == layout
