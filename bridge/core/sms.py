"""One SMS over the air: what its transport is asked for. An `Outcome` tells what became of it."""

from typing import NamedTuple


class SmsJob(NamedTuple):
    """One SMS, in one part or several."""

    recipient: str
    """A number in the form of E.164."""
    body: str
    parts: int
    part_timeout: float
    """Seconds that the network may take for each part."""
    id: str = ""
    """The message's, which its status reports are for."""

    @property
    def large(self) -> bool:
        """Return False: SMS go one at a time."""
        return False

    @property
    def limit(self) -> float:
        """Return the seconds that all parts may take."""
        return self.part_timeout * self.parts
