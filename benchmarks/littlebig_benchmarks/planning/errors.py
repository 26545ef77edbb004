"""What can go wrong in planning, beside what can in a benchmark (littlebig_benchmarks.errors).

BenchmarkError
├── CurvesError          stage curves that are not there, not whole, or not of this pair
├── PlanRefused          a load, target or layout that cannot be planned for
└── TargetUnreachable    no number of replicas keeps the target
"""

from littlebig_benchmarks.errors import BenchmarkError


class CurvesError(BenchmarkError):
    """Stage curves that are not there, not whole, or not of this pair."""


class PlanRefused(BenchmarkError):
    """A load, target or layout that cannot be planned for."""


class TargetUnreachable(BenchmarkError):
    """No number of replicas keeps the target."""
