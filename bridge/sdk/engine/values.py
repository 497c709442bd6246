"""A modem's values for scripts: an SMS and a location [hologram-python 0.10, ``UtilClasses``]."""

from datetime import datetime


class SMS:
    """A received SMS: its ``sender``, the time of sending (``timestamp``), and the ``message``.

    The sender is digits without a plus sign, or a name; the time is UTC without a zone.
    """

    error: str | None = None
    """Why the SMS is unreadable, or None. The ``message`` is then its bytes as text, or empty."""
    pdu: str | None = None
    """The hexadecimal PDU of an SMS without text, otherwise None."""

    def __init__(self, sender: str, timestamp: datetime, message: str) -> None:
        self.sender = sender
        self.timestamp = timestamp
        self.message = message

    def __repr__(self) -> str:
        return f"SMS: sender: {self.sender}, timestamp: {self.timestamp:%c}, message: {self.message}"


class Location:
    """A modem's location; each field is the modem's text, or None."""

    def __init__(
        self,
        date: str | None = None,
        time: str | None = None,
        latitude: str | None = None,
        longitude: str | None = None,
        altitude: str | None = None,
        uncertainty: str | None = None,
    ) -> None:
        self.date = date
        self.time = time
        self.latitude = latitude
        self.longitude = longitude
        self.altitude = altitude
        self.uncertainty = uncertainty

    def __repr__(self) -> str:
        return type(self).__name__
