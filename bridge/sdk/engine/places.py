"""The SDK's addresses and paths: the outbox beside the script, and overrides by the environment.

Four environment variables run a script unchanged in a test, for example against
``hologram-bridge simulate``::

    HOLOGRAM_SDK_CLOUD    host:port of the cloud instead of cloudsocket.hologram.io:9999
    HOLOGRAM_SDK_INBOUND  host:port for inbound messages instead of 0.0.0.0:4010
    HOLOGRAM_SDK_MODEM    the modem's AT port, e.g. /dev/ttyACM0, instead of a search by USB id
    HOLOGRAM_SDK_OUTBOX   the outbox's file
"""

import hashlib
import os
import sys
from pathlib import Path

from bridge.sdk.engine.errors import HologramError

CLOUD = ("cloudsocket.hologram.io", 9999)
INBOUND = ("0.0.0.0", 4010)  # noqa: S104  # documented: inbound messages come from outside
"""Default address for inbound messages [Python SDK 0.3, "HologramCloud"]."""


def cloud_address() -> tuple[str, int]:
    """Return host and port of the Hologram cloud."""
    return _address("HOLOGRAM_SDK_CLOUD", CLOUD)


def inbound_address() -> tuple[str, int]:
    """Return host and port for inbound messages."""
    return _address("HOLOGRAM_SDK_INBOUND", INBOUND)


def modem_port() -> str | None:
    """Return the modem's AT port if the environment names it, otherwise None."""
    return os.environ.get("HOLOGRAM_SDK_MODEM") or None


def _address(name: str, default: tuple[str, int]) -> tuple[str, int]:
    text = os.environ.get(name)
    if not text:
        return default
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise HologramError(f"{name}: {text!r} is not allowed; give HOST:PORT")
    return host.strip("[]"), int(port)


def outbox_path() -> Path:
    """Return the outbox's file for this script: ``send.py`` has ``send.outbox.db`` beside it.

    If its folder is not writable, and for an interactive Python, the file is in
    ``$XDG_STATE_HOME/hologram-bridge`` (``~/.local/state/hologram-bridge``).
    """
    given = os.environ.get("HOLOGRAM_SDK_OUTBOX")
    if given:
        return Path(given).absolute()
    script = _script()
    if script is not None and os.access(script.parent, os.W_OK):
        return script.with_name(f"{script.stem}.outbox.db")
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hologram-bridge"
    if script is None:
        return state / "python.outbox.db"
    # Scripts of one name in different folders are different scripts.
    return state / f"{script.stem}-{hashlib.sha256(bytes(script)).hexdigest()[:8]}.outbox.db"


def _script() -> Path | None:
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    if name is None:
        return None
    script = Path(name).absolute()
    return script.parent if script.name == "__main__.py" else script
