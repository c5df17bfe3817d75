"""Numbers as SQLite keeps them.

It turns NaN into NULL, which here means "not logged": NaN is kept as the text 'NaN' (a REAL column lets pass what is no
number), infinities as they are.
"""

import math
from collections.abc import Sequence
from typing import Any


def stored(column: Sequence[Any]) -> list[Any]:
    """A column as it is written."""
    return [value if value == value else "NaN" for value in column]  # only NaN differs from itself


def loaded(column: Sequence[Any]) -> list[Any]:
    """A column as it was before it was written."""
    return [math.nan if value == "NaN" else value for value in column] if "NaN" in column else list(column)
