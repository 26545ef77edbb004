"""A calibration with its evidence, as it travels with a pair. `evidence_json` reads and writes it."""

from dataclasses import dataclass

from littlebig_calibration.certifying import Guarantee
from littlebig_calibration.errors import EvidenceError
from littlebig_calibration.table import SourceFile
from littlebig_contract.scores import SCORES

MAX_POINTS = 200


@dataclass(frozen=True)
class DataSet:
    """The images.

    Attributes:
        name: of the set.
        images: all images.
        labelled_images: those with a label.
        classes: classes that occur among the labels.
        tuning_images: images that chose score and offset and placed the walk; the others certified.
        split_seed: seed of the random split into tuning and certifying images.
        decode: how pictures were decoded, `scaled` or `full`; None where the table does not say.
        sources: the files that were read.
    """

    name: str
    images: int
    labelled_images: int
    classes: int
    tuning_images: int
    split_seed: int
    decode: str | None
    sources: tuple[SourceFile, ...]


@dataclass(frozen=True)
class Model:
    """A model by name and, where the table has it, by the SHA-256 of its weights."""

    name: str
    weights_sha256: str | None


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at the calibration's confidence level.

    Intervals of rates are Clopper and Pearson's, those of differences Agresti and Min's.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold does on the labelled images.

    Attributes:
        threshold: None means big only: every image goes to big, and little need not run.
        escalation_rate: at this threshold.
        accuracy: of the cascade at this threshold; None where labels are missing.
        difference: the cascade's accuracy minus big's.
        escalation_if_repeated: bootstrap interval of the escalation rates that the rule chooses on other samples of
            as many images; None where it was not computed.
        disagreement: the fraction of the images left to little on which big has another label. An audit of served
            images measures the same. None where no image is left to little.
        cost: per image, None without costs.
        cost_reduction: against big alone, a fraction; None without costs.
    """

    threshold: float | None
    escalation_rate: Estimate
    accuracy: Estimate | None
    difference: Estimate
    escalation_if_repeated: tuple[float, float] | None
    disagreement: float | None
    cost: float | None
    cost_reduction: float | None


@dataclass(frozen=True)
class Proof:
    """What the labels proved at the chosen threshold; zeros and a p-value of 1 where nothing was certified.

    Attributes:
        images: certifying images, those on which the models agree among them.
        disagreements: certifying images on which the models differ.
        labels_used: labels that decided: those of the disagreements that the walk read.
        lost: images that big alone answers rightly.
        won: images that the cascade alone answers rightly.
        p_value: of the test that the cascade loses no more than the tolerance.
        level: error probability that the walk had for this test.
    """

    images: int
    disagreements: int
    labels_used: int
    lost: int
    won: int
    p_value: float
    level: float


@dataclass(frozen=True)
class Tolerance:
    """What the same labels certify for a tolerance; each holds by itself, not all at once.

    Attributes:
        max_accuracy_loss: the tolerance, a fraction.
        threshold: None where nothing is certified.
        escalation_rate: at this threshold.
        cost_reduction: against big alone, a fraction; None without costs.
    """

    max_accuracy_loss: float
    threshold: float | None
    escalation_rate: float
    cost_reduction: float | None


@dataclass(frozen=True)
class Costs:
    """Cost of one image on each model, in `unit`: MACs, seconds or any other."""

    little: float
    big: float
    unit: str


@dataclass(frozen=True)
class CurvePoints:
    """The cascade curve, thinned. The last threshold is None: every image is escalated.

    Attributes:
        threshold: ascending.
        escalation_rate: at each threshold.
        difference: the cascade's accuracy minus big's.
    """

    threshold: tuple[float | None, ...]
    escalation_rate: tuple[float, ...]
    difference: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """A chosen threshold with everything needed to judge it, and to refuse it for other weights.

    Attributes:
        littlebig_version: of the program that made it.
        created: date and time, ISO 8601, UTC.
        data: the images.
        little: the little model.
        big: the big model.
        rule: `certified`, `paper` or `max-escalation`.
        guarantee: what was certified; None for the paper's rule, or where nothing was.
        max_escalation: the cost target of the rule `max-escalation`; None for the others.
        score: `confidence` or `margin`: what is compared with the threshold.
        answer: `big`, or `arbitrate`: little's answer stands where its logit leads by more than `offset`.
        offset: of the arbitration; None for `big`.
        chosen: the operating point to serve. Its threshold None means the policy `big`.
        proof: of the certified rule; None for the others.
        tolerances: what the labels certify for usual tolerances; empty for other rules.
        paper: the paper's rule on the same images, for comparison; None where labels are missing.
        accuracy_little: of little alone; None where labels are missing, like the next two.
        accuracy_big: of big alone.
        difference: little's accuracy minus big's; needs labels only where the models differ.
        costs: None if none were given.
        images_needed: where nothing was certified, how many images probably suffice; an estimate.
        notes: what the user should know, one sentence each.
        curve: at most 200 points, the chosen one and the paper's among them.
    """

    littlebig_version: str
    created: str
    data: DataSet
    little: Model
    big: Model
    rule: str
    guarantee: Guarantee | None
    max_escalation: float | None
    score: str
    answer: str
    offset: float | None
    chosen: OperatingPoint
    proof: Proof | None
    tolerances: tuple[Tolerance, ...]
    paper: OperatingPoint | None
    accuracy_little: Estimate | None
    accuracy_big: Estimate | None
    difference: Estimate | None
    costs: Costs | None
    images_needed: int | None
    notes: tuple[str, ...]
    curve: CurvePoints

    def __post_init__(self) -> None:
        """Refuse values that no calibration can have."""
        for name, allowed in (
            ("rule", ("certified", "paper", "max-escalation")),
            ("score", SCORES),
            ("answer", ("big", "arbitrate")),
        ):
            if getattr(self, name) not in allowed:
                raise EvidenceError(f"{name} is '{getattr(self, name)}', not one of {', '.join(allowed)}")
        if (self.answer == "arbitrate") != (self.offset is not None):
            raise EvidenceError(f"answer is '{self.answer}' and offset is {self.offset}: an offset is for arbitrate")
        for point in (self.chosen, self.paper):
            if point is not None and point.threshold is not None and not 0 <= point.threshold <= 1:
                raise EvidenceError(f"threshold is {point.threshold}, not in [0, 1]")
        curve = self.curve
        if not len(curve.threshold) == len(curve.escalation_rate) == len(curve.difference):
            raise EvidenceError("the curve's columns differ in length")
