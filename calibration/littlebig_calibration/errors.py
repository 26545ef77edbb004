"""This package's exceptions. Each message is one line: what is wrong, with which input, and what to do.

CalibrationError
├── TableError        a table or label file cannot be read, or does not fit the others
├── PairChoiceError   the tables were read, but no threshold can be chosen from them
└── EvidenceError     a calibration file cannot be read or written
"""


class CalibrationError(Exception):
    """Base of everything this package raises for a user's input."""


class TableError(CalibrationError):
    """A table or label file cannot be read, or does not fit the others."""


class PairChoiceError(CalibrationError):
    """The tables were read, but no threshold can be chosen from them."""


class EvidenceError(CalibrationError):
    """A calibration file cannot be read or written, or holds impossible values."""
