"""What the SDK raises, under its own names; each is one of the bridge's errors too.

::

    HologramError
    ├── ApiError
    ├── AuthenticationError   who the device is to the cloud is missing or malformed
    ├── NetworkError          an interface cannot be had, or does not come up
    │   └── PPPError
    │       └── PPPConnectionError
    ├── ModemError            the modem does not do what it was asked for
    └── SerialError           its port cannot be used

The names are those of hologram-python 0.10, ``Exceptions.HologramError``.
"""

from bridge import errors as core
from bridge.errors import BridgeError


class HologramError(BridgeError):
    """The root of what the SDK raises."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self}"


class ApiError(HologramError):
    """A request to Hologram's web API failed; kept for scripts that name it."""


class AuthenticationError(HologramError):
    """Who the device is to the cloud is missing or malformed."""


class NetworkError(HologramError):
    """An interface cannot be had, or does not come up."""


class PortTaken(NetworkError, OSError):
    """Somebody else listens on the port; says who. An ``OSError`` as well, which the SDK raised here."""


class ModemError(HologramError):
    """The modem does not do what it was asked for."""


class PPPError(NetworkError):
    """The connection over PPP failed."""


class PPPConnectionError(PPPError):
    """pppd ended; ``code`` is its exit status, ``output`` what it said."""

    def __init__(self, code: int, output: str | None = None) -> None:
        super().__init__(code, output)
        self.code = code
        self.output = output
        self.message = f"pppd ended with status {code}"


class SerialError(HologramError):
    """The modem's port cannot be used."""


def of_bridge(error: BridgeError) -> HologramError:
    """Return ``error`` under the SDK's own names: a script catches no others."""
    if isinstance(error, HologramError):
        return error
    kind: type[HologramError] = HologramError
    if isinstance(error, core.ModemError):
        kind = ModemError
    elif isinstance(error, core.PortHeld):
        kind = SerialError
    elif isinstance(error, core.LinkError):
        kind = NetworkError
    return kind(str(error))
