"""What can go wrong in a benchmark; every message is one line that names the remedy.

BenchmarkError
├── NoPerfAnalyzer       there is none, or it does not run here
├── ServerNotReached     nothing that speaks Triton's gRPC answers at the url
├── RunFailed            a contender was asked and did not answer as it must
│   └── RunHung          perf_analyzer did not end
├── ScenarioError        a setting, variant or repository that cannot be measured
└── ImagesError          too few pictures, or none little is unsure (or sure) of
"""


class BenchmarkError(Exception):
    """Base class of every failure that a user of this package can cause or mend."""


class NoPerfAnalyzer(BenchmarkError):
    """There is no perf_analyzer, or the one that was named does not run."""


class ServerNotReached(BenchmarkError):
    """Nothing that speaks Triton's gRPC answers at the url."""


class RunFailed(BenchmarkError):
    """A contender was asked and did not answer as it must."""


class RunHung(RunFailed):
    """perf_analyzer did not end."""


class ScenarioError(BenchmarkError):
    """A setting, variant or repository that cannot be measured."""


class ImagesError(BenchmarkError):
    """Too few pictures, or none of a kind that the wanted mix needs."""
