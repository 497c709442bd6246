"""Ids that the bridge gives to what has none."""

import secrets
from collections.abc import Callable
from itertools import count


def id_source() -> Callable[[], str]:
    """Return a function that makes ids which no other run of any bridge makes."""
    # A random part for each run needs no disk, and no clock, to be unique.
    run, numbers = secrets.token_hex(6), count(1)
    return lambda: f"{run}-{next(numbers):x}"
