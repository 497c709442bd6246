"""What each function costs: the figures of ``docs/price-list.md``, which a test holds to captures."""

from typing import NamedTuple

from bridge.core.retry import MAX_DELAY

DAY = 86400.0
MONTH = 30 * DAY


class Price(NamedTuple):
    """One line of the price list, as installed: without TCP timestamps."""

    key: str
    what: str
    each: int
    """Bytes of the IP layer, both ways, each time."""
    often: str
    seconds: float
    """How far apart the times are."""

    @property
    def month(self) -> float:
        """Return the MB (10^6 bytes) of a month."""
        return self.each * MONTH / self.seconds / 1e6


BATCHES = {"batch of 15": 15, "batch of 60": 60}
"""Readings in each of the batches."""

FUNCTIONS = (
    Price("single", "a reading of 20 bytes, alone", 378, "every minute", 60),
    Price("batch of 15", "the same readings, 15 in a batch", 518, "every quarter of an hour", 900),
    Price("batch of 60", "the same readings, 60 in a batch", 590, "every hour", 3600),
    Price("text", "a text of 20 characters by the cloud", 350, "every day", DAY),
    Price("inbound", "a command of 20 bytes to port 4010", 364, "every hour", 3600),
    Price("heartbeat", "a heartbeat, alone", 472, "every hour", 3600),
    Price("lookup", "a look-up of the cloud's name", 154, "every day", DAY),
    Price("tunnel", "an open tunnel, at rest", 80, "every 2 hours", 7200),
    Price("idle", "an idle bridge", 0, "all the time", MONTH),
)

_MEAN_DELAY = MAX_DELAY / 2
"""Seconds between attempts after many failures, on average: the delay is drawn from 0 to its longest."""

FAILURES = tuple(
    Price(key, what, each, "", _MEAN_DELAY)
    for key, what, each in (
        ("refused", "the connection is refused", 246),
        ("dead", "the connection is not answered; Linux before 6.5", 310),
        ("dead, linear", "the connection is not answered; Linux from 6.5", 414),
        ("reset", "it is cut by a reset after the request", 293),
        ("close", "it is closed after the request, without an answer", 333),
        ("silent", "the request is not answered", 293),
        ("nameless", "the look-up is not answered", 138),
    )
)
"""Bytes are those of an attempt, the look-up before it included where there is one."""

LISTED = {each.key: each for each in (*FUNCTIONS, *FAILURES)}


def agrees(measured: int, listed: int) -> bool:
    """Return whether a figure of the list is what was measured, to 3 %: compressors differ a little."""
    return abs(measured - listed) <= 0.03 * measured
