"""What Prometheus scrapes from one pod in each situation that the rules distinguish.

A scenario is the healthy server with some of its series replaced. A counter is given by its rates per second, a gauge
by its values, both in consecutive phases; the last phase lasts to the end. Phases are whole minutes, so that each scenario
can be scraped every 15 s and every 60 s.
"""

from dataclasses import dataclass, field

NUMBER = "<number>"  # in a description: a number that extrapolation blurs
LONG = 400  # minutes from which a scenario takes promtool long
MINUTE = 60
DAY = 86400
_POD = 'namespace="shop",job="shop/littlebig",instance="10.0.0.7:8002",pod="littlebig-0"'
_BIG_POD = 'namespace="shop",job="shop/littlebig",instance="10.0.0.8:8002",pod="littlebig-big-0",pool="big"'

# (seconds, rate per second or value); None: not scraped.
Phases = tuple[tuple[int, float | None], ...]


@dataclass(frozen=True)
class Scenario:
    """A situation, and the alerts that fire at its end.

    Attributes:
        minutes: its duration.
        fires: alert name -> its description.
        series: differences from the healthy server; None removes a series.
        pools: whether little and big are pools of their own; each has one pod.
    """

    minutes: int
    fires: dict[str, str] = field(default_factory=dict)
    series: dict[str, float | Phases | None] = field(default_factory=dict)
    pools: bool = False

    def input_series(self, scrape: int) -> list[dict[str, str]]:
        """The series in the notation of promtool's unit tests.

        Args:
            scrape: seconds between two scrapes.
        """
        series = {**HEALTHY, **(FORWARDED if self.pools else {}), **self.series}
        steps = self.minutes * MINUTE // scrape
        return [
            {"series": _with_labels(name, self.pools), "values": _values(series[name], steps, name, scrape)}
            for name in series
            if series[name] is not None
        ]


def images(stage: str, reason: str) -> str:
    return f'littlebig_images_total{{model="little_big",stage="{stage}",reason="{reason}"}}'


def triton(name: str, model: str) -> str:
    return f'nv_inference_{name}{{model="{model}",version="1"}}'


def failed(model: str, reason: str) -> str:
    return f'nv_inference_request_failure{{model="{model}",version="1",reason="{reason}"}}'


def audits(outcome: str) -> str:
    return f'littlebig_audits_total{{model="little_big",outcome="{outcome}"}}'


def big_failures(reason: str) -> str:
    return f'littlebig_big_failures_total{{model="little_big",reason="{reason}"}}'


ERRORS = 'littlebig_image_errors_total{model="little_big",stage="big"}'
LITTLE_ERRORS = 'littlebig_image_errors_total{model="little_big",stage="little"}'
THRESHOLD = 'littlebig_threshold{model="little_big",gate="little_big_0_0",kind="configured"}'
UP = 'up{endpoint="metrics"}'
PROBES = (
    'prober_probe_total{namespace="shop",pod="littlebig-0",container="triton",probe_type="Readiness",result="failed"}'
)
BREAKER = 'littlebig_breaker_state{model="little_big",gate="little_big_0_0"}'
CALIBRATED_LOW = 'littlebig_calibrated_escalation_rate{model="little_big",gate="little_big_0_0",bound="low"}'
CALIBRATED_HIGH = 'littlebig_calibrated_escalation_rate{model="little_big",gate="little_big_0_0",bound="high"}'
CALIBRATED_DISAGREEMENT = 'littlebig_calibrated_disagreement{model="little_big",gate="little_big_0_0"}'
CERTIFICATE = 'probe_ssl_earliest_cert_expiry{job="shop/littlebig-tls",instance="littlebig:8001"}'

# 100 images a second, 20 of them escalated, one audit a second. little: 25 executions a second of two requests with two
# images each, 10 ms long; big: 10 executions a second of one request with 2.1 images, 40 ms long. A request to little takes
# 14 ms, one to big 50 ms.
HEALTHY: dict[str, float | Phases | None] = {
    images("little", "sure"): 80,
    images("big", "unsure"): 20,
    images("little", "policy"): 0.5,  # probes
    images("little", "overload"): 0,
    images("little", "big_failed"): 0,
    images("little", "arbitrated"): 0,
    ERRORS: 0,
    LITTLE_ERRORS: 0,
    THRESHOLD: 0.5,
    UP: 1,
    PROBES: 0,
    audits("agree"): 0.96,
    audits("disagree"): 0.04,
    big_failures("error"): 0,
    big_failures("timeout"): 0,
    big_failures("breaker_open"): 0,
    big_failures("caller_timeout"): 0,
    BREAKER: 0,
    CALIBRATED_LOW: 0.17,
    CALIBRATED_HIGH: 0.22,
    CALIBRATED_DISAGREEMENT: 0.04,
    triton("request_success", "little"): 50,
    triton("exec_count", "little"): 25,
    triton("count", "little"): 100,
    triton("compute_infer_duration_us", "little"): 50 * 10_000,
    triton("request_duration_us", "little"): 50 * 14_000,
    triton("queue_duration_us", "little"): 50 * 2_000,
    triton("pending_request_count", "little"): 0,
    triton("request_success", "big"): 10,
    triton("exec_count", "big"): 10,
    triton("count", "big"): 21,
    triton("compute_infer_duration_us", "big"): 10 * 40_000,
    triton("request_duration_us", "big"): 10 * 50_000,
    triton("queue_duration_us", "big"): 10 * 5_000,
    triton("pending_request_count", "big"): 1,
    triton("request_success", "little_big"): 100,
    triton("queue_duration_us", "little_big"): 100 * 3_000,
    triton("pending_request_count", "little_big"): 4,
    failed("little_big", "BACKEND"): 0,
    failed("little_big", "REJECTED"): 0,
    CERTIFICATE: 90 * DAY,
}

# With two pools: big's server, and the model of little's that forwards, whose other counters say nothing.
UP_BIG = f'up{{endpoint="metrics",{_BIG_POD}}}'
BIG_PROBES = PROBES.replace('pod="littlebig-0"', 'pod="littlebig-big-0"')
FORWARDED: dict[str, float | Phases | None] = {
    UP_BIG: 1,
    triton("count", "big_remote"): 21,
    failed("big", "OTHER"): 0,
}

_COUNTERS = (
    *("request_success", "exec_count", "count", "request_duration_us", "compute_infer_duration_us"),
    "queue_duration_us",
)
_NO_ANSWER: dict[str, float | Phases | None] = {
    images("little", "sure"): ((1200, 80), (0, 0)),
    images("big", "unsure"): ((1200, 20), (0, 0)),
    images("little", "policy"): ((1200, 0.5), (0, 0)),
    audits("agree"): ((1200, 0.96), (0, 0)),
    audits("disagree"): ((1200, 0.04), (0, 0)),
    **{
        triton(name, model): ((1200, HEALTHY[triton(name, model)]), (0, 0))
        for model in ("little", "big")
        for name in _COUNTERS
    },
    triton("request_success", "little_big"): ((1200, 100), (0, 0)),
    triton("queue_duration_us", "little_big"): ((1200, 300_000), (0, 0)),
}

_DRIFT = (
    "of the last hour's images of shop/littlebig were unsure, outside the calibration's interval by more than chance. "
    "More cost more; fewer may mean that little is sure of images unlike the calibration's."
)
_BURN = "of the images of shop/littlebig fail, over one hour or six."
_LATE = "of the last hour, or six, images of shop/littlebig took longer than the objective."
_LITTLE = "of the images of shop/littlebig get an error because little fails. Every image needs little."
_DOWN = "Prometheus reaches no server of {}: all are down, or nothing is scraped any more."
_DEAD = (
    "10.0.0.7:8002 accepts requests that its gate does not answer, while its health endpoints report success. "
    "Triton does not restart a dead Python process: restart the server."
)
_FAILURES = (
    "of the escalated images of shop/littlebig (error or timeout). "
    "They got an error, or little's answer with stage 2, depending on on_big_failure."
)
_OPEN = (
    "The circuit breaker of the gate at 10.0.0.7:8002 has been open for more than a minute. Unsure images get an "
    "error, or little's answer with stage 2, depending on on_big_failure."
)
_GROWTH = (
    "The queue of model {} of shop/littlebig holds more than a second of work, or rejects requests: "
    "more arrive than are answered."
)

# What a server exports, until half an hour has passed.
_GONE: dict[str, float | Phases | None] = {
    name: ((1800, level), (0, None))
    for name, level in HEALTHY.items()
    if isinstance(level, int | float) and name not in (UP, CERTIFICATE, PROBES)
}

# What changes when big's pool is gone, until then as in HEALTHY.
_BIG_GONE: dict[str, float | Phases | None] = {
    **{
        name: ((1800, level), (0, None))
        for name, level in HEALTHY.items()
        if 'model="big"' in name and level is not None
    },
    images("big", "unsure"): ((1800, 20), (0, 0)),
    images("little", "big_failed"): ((1800, 0), (0, 20)),
    big_failures("breaker_open"): ((1800, 0), (0, 20)),
    BREAKER: ((1800, 0), (0, 2)),
}

SCENARIOS = {
    "a healthy server": Scenario(400),
    "no requests": Scenario(400, series={name: 0 for name in HEALTHY if name.startswith(("littlebig_images", "nv_"))}),
    "no calibration": Scenario(
        400,
        series={
            images("big", "unsure"): 90,
            audits("disagree"): 0.9,
            **dict.fromkeys((CALIBRATED_LOW, CALIBRATED_HIGH, CALIBRATED_DISAGREEMENT)),
        },
    ),
    "harder images than the calibration's": Scenario(
        100,
        fires={"LittleBigEscalationDrift": f"30% {_DRIFT}"},
        series={images("little", "sure"): 70, images("big", "unsure"): 30},
    ),
    "easier images than the calibration's": Scenario(
        100,
        fires={"LittleBigEscalationDrift": f"10% {_DRIFT}"},
        series={images("little", "sure"): 90, images("big", "unsure"): 10},
    ),
    "harder images, answered by little because of overload": Scenario(
        100,
        fires={"LittleBigEscalationDrift": f"30% {_DRIFT}"},
        series={images("little", "sure"): 70, images("big", "unsure"): 5, images("little", "overload"): 25},
    ),
    # A tenth of an image a second is 360 in the hour: three standard errors are 6.5 points.
    "harder images, but too few for evidence": Scenario(
        100, series={images("little", "sure"): 0.074, images("big", "unsure"): 0.026}
    ),
    "callers choose big themselves": Scenario(100, series={images("big", "policy"): 100}),
    "big disagrees with little": Scenario(
        400,
        fires={
            "LittleBigAuditDisagreement": "On 6% of the audited images of shop/littlebig, big disagrees with a sure answer of "
            "little: more than in the calibration, beyond chance. Accuracy may have fallen."
        },
        series={audits("agree"): 0.94, audits("disagree"): 0.06},
    ),
    # 180 audits in six hours, half of them disagreements.
    "big disagrees with little, in too few audits": Scenario(
        400, series={audits("agree"): 0.5 / 120, audits("disagree"): 0.5 / 120}
    ),
    # 43 of 864 where 35 were expected: a standard error is 5.8.
    "big disagrees with little, within chance": Scenario(
        400, series={audits("agree"): 0.038, audits("disagree"): 0.002}
    ),
    "big fails for some images": Scenario(
        60,
        fires={"LittleBigErrorBudgetBurn": f"1% {_BURN}", "LittleBigBigFailures": f"Big did not answer 5% {_FAILURES}"},
        series={
            images("big", "unsure"): 19,
            ERRORS: 1,
            big_failures("error"): 1,
            BREAKER: ((1200, 0), (MINUTE, 2), (0, 0)),
        },
    ),
    "big is too slow for some images, and little answers": Scenario(
        60,
        fires={"LittleBigBigFailures": f"Big did not answer 10% {_FAILURES}"},
        series={images("big", "unsure"): 18, images("little", "big_failed"): 2, big_failures("timeout"): 2},
    ),
    "callers' own time limits expire, which is no failure of big": Scenario(
        60, series={images("big", "unsure"): 18, images("little", "big_failed"): 2, big_failures("caller_timeout"): 2}
    ),
    "big fails permanently": Scenario(
        60,
        fires={"LittleBigErrorBudgetBurn": f"{NUMBER}% {_BURN}", "LittleBigBreakerOpen": _OPEN},
        series={
            images("big", "unsure"): ((1800, 20), (0, 0)),
            ERRORS: ((1800, 0), (0, 20)),
            big_failures("error"): ((1800, 0), (MINUTE, 1), (0, 0)),
            big_failures("breaker_open"): ((1800, 0), (0, 20)),
            BREAKER: ((1800, 0), (0, 2)),
            **{triton(name, "big"): ((1800, HEALTHY[triton(name, "big")]), (0, 0)) for name in _COUNTERS},
            triton("pending_request_count", "big"): ((1800, 1), (0, 0)),
            audits("agree"): ((1800, 0.96), (0, 0)),
            audits("disagree"): ((1800, 0.04), (0, 0)),
        },
    ),
    "little fails for some images": Scenario(
        60,
        fires={"LittleBigLittleFailures": f"5% {_LITTLE}", "LittleBigErrorBudgetBurn": f"5% {_BURN}"},
        series={images("little", "sure"): 75, LITTLE_ERRORS: 5},
    ),
    "little fails for every image": Scenario(
        60,
        fires={"LittleBigLittleFailures": f"100% {_LITTLE}", "LittleBigErrorBudgetBurn": f"100% {_BURN}"},
        series={
            images("little", "sure"): 0,
            images("big", "unsure"): 0,
            LITTLE_ERRORS: 100,
            **{triton(name, model): 0 for model in ("little", "big") for name in _COUNTERS},
        },
    ),
    "a few images fail": Scenario(60, series={LITTLE_ERRORS: 0.3, ERRORS: 0.2}),
    # One of twenty, but nine in all.
    "too few images fail for evidence": Scenario(
        60,
        series={
            images("little", "sure"): 0.05 - 0.0025,
            images("big", "unsure"): 0,
            images("little", "policy"): 0,
            LITTLE_ERRORS: 0.0025,
        },
        fires={"LittleBigLittleFailures": f"5% {_LITTLE}", "LittleBigEscalationDrift": f"0% {_DRIFT}"},
    ),
    "big takes seconds": Scenario(
        60,
        fires={"LittleBigLatencyBudgetBurn": f"For 100% {_LATE}"},
        series={triton("request_duration_us", "big"): 10 * 1_500_000},
    ),
    "little takes seconds": Scenario(
        60,
        fires={"LittleBigLatencyBudgetBurn": f"For 100% {_LATE}"},
        series={
            triton("request_duration_us", "little"): 50 * 1_500_000,
            **{triton(name, "big"): 0 for name in _COUNTERS},
            images("big", "unsure"): 0,
            images("little", "sure"): 80,
            images("little", "overload"): 20,
        },
    ),
    "big takes seconds for two minutes": Scenario(
        60, series={triton("request_duration_us", "big"): ((2400, 500_000), (2 * MINUTE, 15_000_000), (0, 500_000))}
    ),
    "every server is down": Scenario(
        40, fires={"LittleBigDown": _DOWN.format("shop/littlebig")}, series={**_GONE, UP: ((1800, 1), (0, 0))}
    ),
    "nothing is scraped any more": Scenario(
        40, fires={"LittleBigDown": _DOWN.format("shop/littlebig")}, series={**_GONE, UP: ((1800, 1), (0, None))}
    ),
    "nothing was ever scraped": Scenario(
        40, fires={"LittleBigDown": _DOWN.format("any cascade")}, series={**dict.fromkeys(_GONE), UP: None}
    ),
    "two pools": Scenario(40, pools=True),
    # Its counters end; unsure images get little's answer.
    "every server of the pool big is down": Scenario(
        40,
        pools=True,
        fires={"LittleBigDown": _DOWN.format("the pool big of shop/littlebig"), "LittleBigBreakerOpen": _OPEN},
        series={**_BIG_GONE, UP_BIG: ((1800, 1), (0, 0))},
    ),
    "the pool big has no servers": Scenario(
        40,
        pools=True,
        fires={"LittleBigDown": _DOWN.format("the pool big of shop/littlebig"), "LittleBigBreakerOpen": _OPEN},
        series={**_BIG_GONE, UP_BIG: ((1800, 1), (0, None))},
    ),
    "the pool big is overloaded": Scenario(
        40,
        pools=True,
        fires={"LittleBigQueueGrowth": _GROWTH.format("big of the pool big")},
        series={triton("pending_request_count", "big"): ((1800, 1), (0, 12))},
    ),
    "the pool little is overloaded": Scenario(
        40,
        pools=True,
        fires={"LittleBigQueueGrowth": _GROWTH.format("little_big of the pool little")},
        series={triton("pending_request_count", "little_big"): ((1800, 4), (0, 400))},
    ),
    "the probes of the pool big go on failing": Scenario(
        40,
        pools=True,
        fires={"LittleBigProbeFailures": "Readiness probes of littlebig-big-0 have failed for 15 minutes."},
        series={BIG_PROBES: ((600, 0), (0, 0.2))},
    ),
    "the probes go on failing": Scenario(
        40,
        fires={"LittleBigProbeFailures": "Readiness probes of littlebig-0 have failed for 15 minutes."},
        series={PROBES: ((600, 0), (0, 0.2))},
    ),
    "a pod restarts once": Scenario(40, series={PROBES: ((600, 0), (2 * MINUTE, 0.2), (0, 0))}),
    "a blackbox exporter's probe fails": Scenario(
        40,
        fires={"LittleBigProbeFailures": "Blackbox probes of littlebig:8001 have failed for 15 minutes."},
        series={'probe_success{job="shop/littlebig-tls",instance="littlebig:8001"}': ((600, 1), (0, 0))},
    ),
    "big fails for a moment": Scenario(
        60,
        series={
            images("big", "unsure"): ((3000, 20), (60, 0), (0, 20)),
            ERRORS: ((3000, 0), (60, 20), (0, 0)),
            big_failures("error"): ((3000, 0), (MINUTE, 1), (0, 0)),
            big_failures("breaker_open"): ((3000, 0), (60, 20), (0, 0)),
            BREAKER: ((3000, 0), (60, 2), (MINUTE, 1), (0, 0)),
        },
    ),
    "more requests arrive than are answered": Scenario(
        60,
        fires={"LittleBigQueueGrowth": _GROWTH.format("little_big")},
        series={triton("pending_request_count", "little_big"): ((1800, 4), (0, 400))},
    ),
    "big is overloaded": Scenario(
        60,
        fires={"LittleBigQueueGrowth": _GROWTH.format("big")},
        series={triton("pending_request_count", "big"): ((1800, 1), (0, 12))},
    ),
    "the queue turns requests away": Scenario(
        60,
        fires={"LittleBigErrorBudgetBurn": f"{NUMBER}% {_BURN}", "LittleBigQueueGrowth": _GROWTH.format("little_big")},
        series={failed("little_big", "REJECTED"): ((1800, 0), (0, 5))},
    ),
    "a burst": Scenario(60, series={triton("pending_request_count", "little_big"): ((3000, 4), (60, 400), (0, 4))}),
    "every process of the gate is dead": Scenario(
        40,
        fires={"LittleBigErrorBudgetBurn": f"{NUMBER}% {_BURN}", "LittleBigGateDead": _DEAD},
        # Each fails one request per second; the other requests wait.
        series={
            **_NO_ANSWER,
            failed("little_big", "BACKEND"): ((1200, 0), (0, 2)),
            triton("pending_request_count", "little_big"): ((1200, 4), (0, 16)),
        },
    ),
    "one process of the gate is dead": Scenario(
        40, fires={"LittleBigGateDead": _DEAD}, series={failed("little_big", "BACKEND"): ((1200, 0), (0, 1))}
    ),
    "the gate hangs": Scenario(
        40,
        fires={"LittleBigGateDead": _DEAD},
        series={**_NO_ANSWER, triton("pending_request_count", "little_big"): ((1200, 4), (0, 16))},
    ),
    "the gate died and Kubernetes restarted it": Scenario(
        40, series={failed("little_big", "BACKEND"): ((2160, 0), (MINUTE, 2), (0, 0))}
    ),
    "the certificate expires": Scenario(
        100,
        fires={
            "LittleBigCertificateNearExpiry": "The certificate of littlebig:8001 expires in 9d 22h 20m 0s. "
            "Triton reads it only at its start."
        },
        series={CERTIFICATE: 10 * DAY},
    ),
    "the certificate expires, as cert-manager reports": Scenario(
        100,
        fires={
            "LittleBigCertificateNearExpiry": "The certificate of littlebig-grpc expires in 9d 22h 20m 0s. "
            "Triton reads it only at its start."
        },
        series={
            CERTIFICATE: None,
            'certmanager_certificate_expiration_timestamp_seconds{namespace="shop",name="littlebig-grpc"}': 10 * DAY,
        },
    ),
}


def _with_labels(name: str, pools: bool) -> str:
    """A series with the labels that the scrape adds, unless it is complete."""
    if "namespace=" in name or name.startswith("probe_"):
        return name
    pod = _BIG_POD if pools and 'model="big"' in name else f'{_POD},pool="little"' if pools else _POD
    return f"{name.removesuffix('}')},{pod}}}"


def _values(levels: float | Phases | None, steps: int, name: str, scrape: int) -> str:
    """One value per scrape, in promtool's notation."""
    phases = levels if isinstance(levels, tuple) else ((0, levels),)
    metric = name.partition("{")[0]
    is_counter = metric.endswith(("_total", "_us", "_request_success", "_request_failure")) or metric in (
        "nv_inference_count",
        "nv_inference_exec_count",
    )
    parts, done, at = [], 0, 0.0
    for seconds, level in phases:
        count = seconds // scrape if seconds else steps + 1 - done
        if level is None:
            parts.append(f"_x{count}")
            done += count
            continue
        step = level * scrape if is_counter else 0
        begin = at if is_counter else level
        parts.append(f"{begin:.10g}{step:+.10g}x{count - 1}")
        done, at = done + count, at + step * count
    return " ".join(parts)
