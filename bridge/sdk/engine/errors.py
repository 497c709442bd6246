"""The SDK's exceptions, by its own names; each is also one of the bridge's errors.

::

    HologramError
    ├── ApiError
    ├── AuthenticationError   credentials are missing or malformed
    ├── NetworkError          an interface is missing, or does not come up
    │   └── PPPError
    │       └── PPPConnectionError
    ├── ModemError            the modem does not carry a command out
    └── SerialError           the modem's port is unusable

The names are those of hologram-python 0.10, ``Exceptions.HologramError``.
"""

from bridge import errors as core
from bridge.errors import BridgeError


class HologramError(BridgeError):
    """The root of the SDK's exceptions."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self}"


class ApiError(HologramError):
    """A request to Hologram's web API failed; kept for scripts that name it."""


class AuthenticationError(HologramError):
    """The device's credentials are missing or malformed."""


class NetworkError(HologramError):
    """An interface is missing, or does not come up."""


class PortTaken(NetworkError, OSError):
    """Another program listens on the port; the text names it. Also an ``OSError``, which the SDK raised."""


class ModemError(HologramError):
    """The modem does not carry a command out."""


class PPPError(NetworkError):
    """The connection over PPP failed."""


class PPPConnectionError(PPPError):
    """pppd ended; ``code`` is its exit status, ``output`` its output."""

    def __init__(self, code: int, output: str | None = None) -> None:
        super().__init__(code, output)
        self.code = code
        self.output = output
        self.message = f"pppd ended with status {code}"


class SerialError(HologramError):
    """The modem's port is unusable."""


def of_bridge(error: BridgeError) -> HologramError:
    """Return ``error`` as one of the SDK's exceptions, which are the ones that scripts catch."""
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
