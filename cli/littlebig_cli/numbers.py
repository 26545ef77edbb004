"""Types of options that are numbers: click's own accept `nan` and `inf`, even within bounds."""

from __future__ import annotations

import math
from typing import Any

import click


class _Finite(click.types.FloatParamType):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what is not finite."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Number(_Finite):
    """Any finite number."""


class NumberRange(_Finite, click.FloatRange):
    """A finite number within bounds."""
