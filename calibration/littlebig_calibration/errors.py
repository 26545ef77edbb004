"""What can go wrong, as one tree. Each message is one line: what was wrong, with which input, what to do.

CalibrationError
├── TableError     a prediction table or label file that cannot be read, or that does not fit the others
├── PairError      tables that were read, but from which no threshold can be chosen
└── EvidenceError  a calibration file that is not one
"""

from __future__ import annotations


class CalibrationError(Exception):
    """Base of everything this package raises for a user's input."""


class TableError(CalibrationError):
    """A prediction table or label file cannot be read, or does not fit the others."""


class PairError(CalibrationError):
    """The tables were read, but no threshold can be chosen from them."""


class EvidenceError(CalibrationError):
    """A calibration file cannot be read, or says something impossible."""
