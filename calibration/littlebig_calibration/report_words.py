"""What the report's words mean, shown where the pointer rests on them."""

from html import escape

MEANINGS = {
    "choice": "who answers: one model alone, or both with a rule's threshold",
    "threshold": "an image whose score is below it goes on to big",
    "escalated": "share of images that go on to big",
    "bootstrap": "escalation rates that the same rule chooses on 95 % of other samples of as many images",
    "accuracy": "share of right answers on these images",
    "against big": "accuracy minus big's, in percentage points: the interval of a paired difference",
    "cost": "of an image: little's, and big's times the escalation rate",
    "cost per image": "little's, and big's times the escalation rate",
    "saved": "share of big's cost that the cascade saves",
    "certifying images": "drawn at random; they had no part in any choice",
    "disagreement": "certifying images on which both models give different classes",
    "labels that decided": "those of kept disagreements, down to where the walk ended",
    "lost": "kept images that big alone answers rightly",
    "won": "kept images that the cascade alone answers rightly",
    "p-value": "probability of counts like these if the cascade lost more than the tolerance",
    "error budget": "the p-value that the walk allowed here; a walk that failed above has less left",
    "loss allowed": "accuracy that the cascade may lose against big",
    "calibration error": "mean gap between confidence and accuracy",
    "class": "the true class",
    "images": "number of images",
    "little correct": "share of this class that little alone answers rightly",
    "big correct": "share of this class that big alone answers rightly",
    "planning images": "they chose score and offset and placed the walk's starts; they certify nothing",
    "rule": "how the threshold was chosen",
    "score": "what the gate compares with the threshold: little's confidence or its margin",
    "answer": "who answers an escalated image: big, or the surer of both (arbitrate)",
    "decoding": "how pictures were decoded: scaled is quicker and loses nothing that can be seen",
}


def explained(word: str) -> str:
    """The word as HTML, with its meaning where there is one."""
    meaning = MEANINGS.get(word)
    text = escape(word)
    return text if meaning is None else f'<abbr title="{escape(meaning)}" tabindex="0">{text}</abbr>'
