"""Made-up stage curves, for tests of what is computed from curves."""

from littlebig_benchmarks.planning.curves import BATCHES, Curve, Device, GateCurve, StageCurve, StageCurves


def curve(first: float, each: float = 0.0) -> Curve:
    """Seconds for a batch: `first` for one image, and `each` more for every further image."""
    return Curve({size: round(first + each * (size - 1), 6) for size in BATCHES})


def curves(
    little: Curve,
    big: Curve,
    *,
    gate: float = 0.0,
    kind: str = "gpu",
    capacity: float = 1.0,
    instances: int = 1,
    threads: int = 1,
    max_batch_size: int = 32,
) -> StageCurves:
    """Curves of the pair `made-up`; both stages are served alike."""
    return StageCurves(
        "made-up",
        Device(kind, "a device of no kind", capacity),
        StageCurve(little, instances, max_batch_size, threads),
        StageCurve(big, instances, max_batch_size, threads),
        GateCurve(curve(gate), instances, max_batch_size),
        {"measured": "never"},
    )
