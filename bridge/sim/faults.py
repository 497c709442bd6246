"""Faults on request: errors of the simulated cloud at every n-th request.

=========  ===========================================================================  ========
fault      what the client sees                                                         accepted
=========  ===========================================================================  ========
close      the connection ends without an answer                                        no
reset      the connection ends by a TCP reset                                           no
silent     nothing: the request is read, the connection stays until the client closes   no
garbage    bytes that are no answer                                                     no
code1…8    that code, whatever the request deserved                                     no
nobatch    code 5 to a request whose only topic is ``batch``; others are answered           no
late       the right answer, 7 s later: past the documented timeout of 5 s              yes
split      the right answer, one byte at a time with 10 ms between them                 yes
drip       the right answer, one byte a second                                          yes
=========  ===========================================================================  ========

*Accepted* is the request's value in the log. A fault of the *no* kind leaves it ``accepted: false``, so a
repetition counts as the first arrival. A fault of the *yes* kind accepts a right request.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from bridge.errors import UsageError

LATE: Final = 7.0
"""Seconds until a late answer."""

SPLIT_GAP: Final = 0.01
"""Seconds between the bytes of a split answer."""

DRIP_GAP: Final = 1.0
"""Seconds between the bytes of a dripped answer."""

GARBAGE: Final = b"\x00\xff?! no answer \x80\r\n"
"""Bytes sent instead of an answer; they start with no digit and no bracket and are not UTF-8."""

CODES: Final = {f"code{code}": code for code in range(1, 9)} | {"nobatch": 5}
"""The faults that answer a code, each with its code."""

BATCH: Final = ("batch",)
"""The topics of the requests that ``nobatch`` refuses."""

ACCEPTING: Final = frozenset({"late", "split", "drip"})
"""The faults under which a right request is accepted."""

NAMES: Final = ("close", "reset", "silent", "garbage", *CODES, "late", "split", "drip")
"""All faults."""


class Fault(NamedTuple):
    """One fault, at every ``every``-th request."""

    name: str
    every: int


def parse_fault(text: str) -> Fault:
    """Read ``NAME:N``.

    Raises:
        UsageError: the name is not known or N is not a whole number from 1 on.

    """
    name, colon, every = text.partition(":")
    if name not in NAMES:
        raise UsageError(f"--fault: {text!r} is not allowed; NAME:N with NAME one of {', '.join(NAMES)}")
    if not (colon and every.isascii() and every.isdigit() and len(every) < 10 and int(every) > 0):
        raise UsageError(
            f"--fault: {text!r} is not allowed; NAME:N with N a whole number from 1 on, as in {name}:5"
        )
    return Fault(name, int(every))


def parse_faults(texts: Iterable[str]) -> tuple[Fault, ...]:
    """Read every ``NAME:N``, in the order they were given; raises as :func:`parse_fault`."""
    return tuple(parse_fault(text) for text in texts)


def fault_at(faults: Sequence[Fault], number: int, topics: Sequence[str] = ()) -> str | None:
    """Return the fault of request ``number`` (counted from 1) under ``topics``: the first ordered wins."""
    for name, every in faults:
        if number % every == 0 and (name != "nobatch" or tuple(topics) == BATCH):
            return name
    return None
