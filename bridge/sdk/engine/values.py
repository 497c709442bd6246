"""A modem's values for scripts: an SMS and a location [hologram-python 0.10, ``UtilClasses``]."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(eq=False, repr=False)
class SMS:
    """A received SMS: its ``sender``, the time of sending (``timestamp``), and the ``message``.

    The sender is digits without a plus sign, or a name; the time is UTC without a zone.
    """

    sender: str
    timestamp: datetime
    message: str
    error: str | None = field(default=None, init=False)
    """Why the SMS is unreadable, or None. The ``message`` is then its bytes as text, or empty."""
    pdu: str | None = field(default=None, init=False)
    """The hexadecimal PDU of an SMS without text, otherwise None."""

    def __repr__(self) -> str:
        return f"SMS: sender: {self.sender}, timestamp: {self.timestamp:%c}, message: {self.message}"


@dataclass(eq=False, repr=False)
class Location:
    """A modem's location; each field is the modem's text, or None."""

    date: str | None = None
    time: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    altitude: str | None = None
    uncertainty: str | None = None

    def __repr__(self) -> str:
        return type(self).__name__
