"""The list of files to label, as a CSV that can be filled in by hand; `calibrate --labels` reads it back."""

import csv
import io
from collections.abc import Sequence

from littlebig_calibration.labelling.page import Question

COLUMNS = ("file", "label", "suggestion_1", "suggestion_2")


def label_list(questions: Sequence[Question], names: Sequence[str]) -> str:
    """The list as CSV text, without labels.

    Args:
        questions: the pictures, in labelling order.
        names: one per class.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for each in questions:
        rows.writerow([each.file, "", *(f"{label} {names[label]}" for label in each.choices)])
    return text.getvalue()
