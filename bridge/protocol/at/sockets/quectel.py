"""Quectel sockets: commands and their answers, for BG96 and EC21.

Source: Quectel BG96 TCP/IP AT Commands Manual V1.0; EC21 has the same commands. Sockets are opened in direct
push mode (access mode 1): received bytes follow their unsolicited code as they are.
"""

from bridge.protocol.at.engine import Answer, Urc
from bridge.protocol.at.sockets import (
    Closed,
    ContextLost,
    Data,
    Incoming,
    Opened,
    Readable,
    SocketEvent,
    context_lost,
    fields,
    number,
    numbers,
)

SOCKETS = 12
"""Number of sockets, 0 to 11."""

CHUNK = 256
"""Bytes that one command writes in hex: 512 digits."""

DATAGRAM = 1460
"""Bytes of the largest datagram that ``+QISEND`` accepts."""

SENT = ("SEND OK",)
"""The final result of accepted bytes."""

FULL = "SEND FAIL"
"""The final result of refused bytes: the sending buffer is full and "the data can be tried to be resent"
[Quectel BG96 TCP/IP Application Note, section 2.2.7]."""

ACTIVE = "AT+QIACT?"
ACTIVATE = "AT+QIACT=1"
DEACTIVATE = "AT+QIDEACT=1"


def profile(apn: str) -> tuple[str, ...]:
    """Return the commands that set context 1: IPv4, the APN, no name, no password, PAP."""
    return (f'AT+QICSGP=1,1,"{apn}","","",1',)


def open_socket(socket: int, service: str, host: str, port: int, own_port: int = 0) -> str:
    """Return the command that opens a socket; its outcome is the code ``+QIOPEN: <socket>,<error>``.

    ``service`` is ``TCP``, ``UDP``, ``TCP LISTENER`` or ``UDP SERVICE``.
    """
    return f'AT+QIOPEN=1,{socket},"{service}","{host}",{port},{own_port},1'


def write(socket: int, data: bytes) -> tuple[str, bytes | None]:
    """Return the command that writes, and the input of its prompt, if ``data`` is over `CHUNK` bytes."""
    if len(data) > CHUNK:
        return f"AT+QISEND={socket},{len(data)}", data
    return f'AT+QISENDEX={socket},"{data.hex().upper()}"', None


def ask_outstanding(socket: int) -> str:
    """Return the command that queries the bytes sent, and those that the peer has not acknowledged."""
    return f"AT+QISEND={socket},0"


def sent(answer: Answer) -> int:
    """Return the bytes that a socket has accepted from ``+QISEND: <sent>,<acknowledged>,<not>``, else -1."""
    return next((number(fields(line)[0]) for line in answer.lines if line.startswith("+QISEND:")), -1)


def outstanding(answer: Answer) -> int:
    """Return the last number in ``+QISEND: <sent>,<acknowledged>,<not>``; 0 if there is none."""
    return next((max(0, number(fields(line)[-1])) for line in answer.lines if line.startswith("+QISEND:")), 0)


def close(socket: int, timeout: int) -> str:
    """Return the command that closes, forced after ``timeout`` seconds without the peer's close."""
    return f"AT+QICLOSE={socket},{timeout}"


def address(answer: Answer) -> str | None:
    """Return the address in ``+QIACT: 1,1,1,"10.0.0.1"`` of an active context 1, or None."""
    for line in answer.lines:
        found = fields(line)
        if line.startswith("+QIACT:") and found[:2] == ["1", "1"] and len(found) >= 4:
            return found[3]
    return None


def payload_after(line: str) -> int:
    """Return the number of raw bytes after ``line``: those of ``+QIURC: "recv",<socket>,<length>``.

    In buffer mode, which is not used, the code has no length. ``+QIRD: <length>`` is followed by bytes too,
    but with three numbers it is a statistic.
    """
    found = fields(line)
    if line.startswith("+QIURC:") and found[0] == "recv" and len(found) in (3, 5):
        return max(0, number(found[2]))
    if line.startswith("+QIRD:") and len(found) in (1, 3) and not (len(found) == 3 and "." not in found[1]):
        return max(0, number(found[0]))
    return 0


def event(urc: Urc) -> SocketEvent | None:
    """Return the socket event of an unsolicited code; None for any other code, and for broken ones."""
    found = fields(urc.line)
    name = urc.line.partition(":")[0]
    if name == "+QIOPEN" and (at := numbers(found, 2)):
        return Opened(at[0], at[1])
    if context_lost(urc.line):
        return ContextLost()
    return _news(found, urc.data) if name == "+QIURC" else None


def _news(found: list[str], data: bytes) -> SocketEvent | None:
    match found:
        case ["recv", *_]:
            return _received(found, data)
        case ["closed", socket, *_] if number(socket) >= 0:
            return Closed(number(socket))
        case ["incoming", socket, listener, host, port, *_]:
            at = numbers([socket, listener, port], 3)
            return Incoming(at[0], at[1], host, at[2]) if at else None
        case ["pdpdeact"] | ["pdpdeact", "1"]:
            return ContextLost()
    return None


def _received(found: list[str], data: bytes) -> SocketEvent | None:
    if len(found) == 2:
        return Readable(number(found[1]))
    at = numbers(found[1:], 2)
    if at is None:
        return None
    whole = len(data) == at[1]
    if len(found) >= 5:
        return Data(at[0], data, whole, host=found[3], port=max(0, number(found[4])))
    return Data(at[0], data, whole)
