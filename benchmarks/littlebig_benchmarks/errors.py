"""The errors of a benchmark. Every message is one line that names the remedy.

BenchmarkError
├── NoPerfAnalyzer       perf_analyzer is missing, or does not run on this machine
├── ServerNotReached     nothing that speaks Triton's gRPC answers at the url
├── RunFailed            a contender answered with an error, or gave no figure
│   └── RunHung          perf_analyzer did not end
├── ScenarioError        a setting, variant or repository that cannot be measured
└── ImagesError          too few pictures, or none that little is unsure (or sure) of
"""


class BenchmarkError(Exception):
    """Base class of every failure that a user of this package can cause or fix."""


class NoPerfAnalyzer(BenchmarkError):
    """perf_analyzer is missing, or does not run on this machine."""


class ServerNotReached(BenchmarkError):
    """Nothing that speaks Triton's gRPC answers at the url."""


class RunFailed(BenchmarkError):
    """A contender answered with an error, or gave no figure."""


class RunHung(RunFailed):
    """perf_analyzer did not end."""


class ScenarioError(BenchmarkError):
    """A setting, variant or repository that cannot be measured."""


class ImagesError(BenchmarkError):
    """Too few pictures, or none of a kind that the mix needs."""
