"""The array type of this package; each docstring says shape and dtype."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
