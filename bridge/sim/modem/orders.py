"""Orders to a running simulated modem: one JSON object a line to its Unix socket, and one answer a line.

============  ============================================================================================
do            further keys
============  ============================================================================================
state         none; the answer has everything
signal        rssi 0 to 31 or 99, ber; without rssi it moves by itself
registration  stat 0 to 5; with seconds only for so long
operator      name
sim           state: ready, pin, puk, absent, busy (for seconds), failed
fault         name and number, as ``--fault``; link for vanish
clear         none: every fault ends
sms           from and text, or pdu; wide (16-bit references), shuffle, order (e.g. [2, 1, 1]), reference, at
reports       status: TP-Status of status reports
sms_errors    codes: ``+CMS ERROR`` for the next sends, 0 lets one through
carrier       up: true or false
pdp           none: the packet context is lost
vanish        seconds (none: until power), link
reset         seconds
power         on: true or false
code          line: an unsolicited code
noise         hex: bytes to the AT port
============  ============================================================================================
"""

import json
import shlex
import socket
from pathlib import Path
from typing import Any, Final

from bridge.errors import OperationError, UsageError

_TEXTS: Final = {"from", "text", "pdu", "line", "name", "hex", "operator", "at", "link", "state"}
"""Keys whose values are strings even where they look like numbers."""

_TIMEOUT: Final = 10.0

Order = dict[str, Any]


def read_order(text: str) -> Order:
    """Read an order as typed: JSON, or ``sms from=+15551234567 text="hello there"``.

    Raises:
        UsageError: the order has neither form.

    """
    if text.lstrip().startswith("{"):
        try:
            order = json.loads(text)
        except ValueError as error:
            raise UsageError(f"the order is no JSON: {error}") from None
        return dict(order)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the order cannot be read: {error}") from None
    if not words or any("=" not in word for word in words[1:]):
        raise UsageError(
            f"the order {text!r} cannot be read; as in: sms from=+15551234567 text='hello there'"
        )
    pairs = (word.split("=", 1) for word in words[1:])
    return {"do": words[0], **{key: _value(key, value) for key, value in pairs}}


def _value(key: str, value: str) -> Any:
    if key in _TEXTS:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def send(path: Path, order: Order) -> Order:
    """Send one order and return the answer.

    Raises:
        OperationError: no modem takes orders at the path, or the modem refused this one.

    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(str(path))
            connection.sendall(json.dumps(order).encode() + b"\n")
            answer: Order = json.loads(connection.makefile("rb").readline())
    except (OSError, ValueError) as error:
        raise OperationError(f"{path}: {error}; does a simulated modem run with --control {path}?") from None
    if not answer.pop("ok"):
        raise OperationError(f"the modem refused: {answer['error']}")
    return answer
