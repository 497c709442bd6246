"""Whether the box knows the time, and how long messages wait until it does.

A box without a hardware clock boots with the time of its last run, or with 1970. A time service
sets it.
"""

from typing import NamedTuple

from bridge.core.messages import Endpoint

PLAUSIBLE = 1_672_531_200.0
"""Unix seconds of 2023-01-01, before the first release. An earlier wall clock has not been set."""

LONGEST_WAIT = 600.0
"""Seconds for which a message waits for the time after its way out was first open."""


class ClockFacts(NamedTuple):
    """What the box tells about its wall clock."""

    synchronised: bool
    """The kernel calls it synchronised [adjtimex(2), STA_UNSYNC]."""
    hardware: bool
    """A hardware clock is there, from which the kernel has set it."""
    service: bool
    """A time service runs that could still set it."""


def knows_time(wall: float, facts: ClockFacts) -> bool:
    """Return whether ``wall``, Unix seconds of the wall clock, is the time."""
    return wall >= PLAUSIBLE and (facts.synchronised or facts.hardware or not facts.service)


class TimeWait:
    """The wait for the time, by destination. It begins when the way there is first open.

    A time service needs the network as the messages do, so it has its chance in that time. After it the box
    is one that does not learn the time, and nothing waits for it any more.
    """

    def __init__(self) -> None:
        self._opened: dict[Endpoint, float] = {}

    def opened(self, endpoint: Endpoint, mono: float) -> None:
        """Note that the way to ``endpoint`` is open at ``mono`` (monotonic seconds)."""
        self._opened.setdefault(endpoint, mono)

    def over(self, endpoint: Endpoint, mono: float) -> bool:
        """Return whether messages to ``endpoint`` have waited long enough."""
        opened = self._opened.get(endpoint)
        return opened is not None and mono - opened >= LONGEST_WAIT
