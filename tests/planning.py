"""Stage curves that were never measured, for tests of what is computed from such."""

from littlebig_benchmarks.planning.curves import BATCHES, Curve, Device, GateCurve, StageCurve, StageCurves


def curve(first: float, each: float = 0.0) -> Curve:
    """Seconds for a batch: so much, and so much more with each further image."""
    return Curve({size: (round(first + each * (size - 1), 6),) for size in BATCHES})


def curves(
    little: Curve,
    big: Curve,
    *,
    gate: float = 0.0,
    kind: str = "gpu",
    capacity: float = 1.0,
    instances: int = 1,
    most: int = 32,
    in_flight: int = 4,
    delay: float = 0.0,
    transport: float = 0.0,
    weight: float = 1.0,
    preferred: int = 0,
) -> StageCurves:
    """A pair's; both stages are served alike."""
    return StageCurves(
        "made-up",
        Device(kind, "a device of no kind", capacity),
        StageCurve(little, instances, most, delay, preferred_batch_size=preferred),
        StageCurve(big, instances, most, delay, weight=weight, preferred_batch_size=preferred),
        GateCurve(curve(gate), instances, most, in_flight),
        transport,
        {"measured": "never"},
    )
