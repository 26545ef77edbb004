"""The errors of planning, beside those of a benchmark (littlebig_benchmarks.errors).

BenchmarkError
├── CurvesError     a curves file that is missing, incomplete, or of another pair
└── PlanRefused     a rate, escalation or utilisation that is out of range
"""

from littlebig_benchmarks.errors import BenchmarkError


class CurvesError(BenchmarkError):
    """A curves file that is missing, incomplete, or of another pair."""


class PlanRefused(BenchmarkError):
    """A rate, escalation or utilisation that is out of range."""
