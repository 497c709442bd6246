"""What a modem tells scripts: a text, and a place [hologram-python 0.10, ``UtilClasses``]."""

from datetime import datetime


class SMS:
    """A text that came in: its ``sender``, when it was sent (``timestamp``), and the ``message``.

    The sender is digits without a plus sign, or a name; the time is UTC without a zone.
    """

    error: str | None = None
    """What is wrong with a text that cannot be read; its ``message`` is its bytes as text then, or empty."""
    pdu: str | None = None
    """The PDU, in hexadecimal, of what is no text at all."""

    def __init__(self, sender: str, timestamp: datetime, message: str) -> None:
        self.sender = sender
        self.timestamp = timestamp
        self.message = message

    def __repr__(self) -> str:
        return f"SMS: sender: {self.sender}, timestamp: {self.timestamp:%c}, message: {self.message}"


class Location:
    """Where the modem is; each field is text as the modem gave it, or None."""

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
