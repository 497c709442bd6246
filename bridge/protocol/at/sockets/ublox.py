"""u-blox sockets: commands and their answers, for SARA-U2 and SARA-R4.

Sources: u-blox SARA-U2 AT commands manual UBX-13001820 and SARA-R4/N4 series AT commands manual UBX-17003787,
chapters "Internet protocol transport layer" and "Packet switched data services". Payloads travel in hex
(``+UDCONF=1,1``): the plain form cannot carry a quote or a control character.
"""

from bridge.protocol.at.engine import Answer, Urc
from bridge.protocol.at.sockets import (
    Closed,
    ContextLost,
    Incoming,
    Readable,
    SocketEvent,
    context_lost,
    fields,
    number,
    numbers,
    unhex,
)

SOCKETS = 7
"""Number of sockets, 0 to 6."""

CHUNK = 250
"""Bytes that one command writes in hex: SARA-U2 accepts 250 (hologram-python 0.10 uses 255), SARA-R4 512."""

READ = 512
"""Bytes read by one command."""

DATAGRAM = 1024
"""Bytes of the largest datagram, which the binary form accepts; +USOST in hex accepts only `CHUNK`."""

TCP, UDP = 6, 17

FULL = 11
"""The last error of a socket whose queue had no room [UBX-17003787 R16, section 19.10.1]."""

HEX_MODE = "AT+UDCONF=1,1"
ACTIVE = "AT+UPSND=0,8"
ADDRESS = "AT+UPSND=0,0"
ACTIVATE = "AT+UPSDA=0,3"
DEACTIVATE = "AT+UPSDA=0,4"
R4_TELL = "AT+CGEREP=1"
"""Turns on +CGEV, by which SARA-R4 reports a lost context [3GPP TS 27.007, section 10.1.19]."""
R4_ACTIVATE = "AT+CGACT=1,1"
R4_DEACTIVATE = "AT+CGACT=0,1"
R4_CONTEXTS = "AT+CGDCONT?"
R4_ADDRESS = "AT+CGPADDR=1"


def profile(apn: str) -> tuple[str, ...]:
    """Return the commands that set the packet data profile 0: the APN, and an assigned address."""
    return f'AT+UPSD=0,1,"{apn}"', 'AT+UPSD=0,7,"0.0.0.0"'


def r4_profile(apn: str) -> tuple[str, ...]:
    """Return the same for SARA-R4, which has no profiles of its own [3GPP TS 27.007, section 10.1.1]."""
    return (f'AT+CGDCONT=1,"IP","{apn}"',)


def create(protocol: int, own_port: int = 0) -> str:
    """Return the command that creates a socket, bound to ``own_port`` unless that is 0."""
    return f"AT+USOCR={protocol},{own_port}" if own_port else f"AT+USOCR={protocol}"


def created(answer: Answer) -> int:
    """Return the new socket's number, or -1."""
    return next((number(fields(line)[0]) for line in answer.lines if line.startswith("+USOCR:")), -1)


def connect(socket: int, host: str, port: int) -> str:
    """Return the command that connects; the modem resolves a name itself."""
    return f'AT+USOCO={socket},"{host}",{port}'


def write(socket: int, data: bytes) -> str:
    """Return the command that writes at most `CHUNK` bytes."""
    return f'AT+USOWR={socket},{len(data)},"{data.hex().upper()}"'


def written(answer: Answer, *socket: int) -> int:
    """Return the number of accepted bytes in ``+USOWR: 0,100``, -1 if there is none of ``socket``.

    It can be smaller than the number given: it "returns the number of bytes of data actually written", and on
    SARA-R4 it may also be too small, which `ask_sent` shows. The rest has to be written again
    [UBX-17003787 R16, sections 19.10.1 and 19.10.4].
    """
    return _told(answer, "+USOWR:", *socket)


def _told(answer: Answer, name: str, *keys: int) -> int:
    """Return the last number of the first line named ``name`` that begins with ``keys``, else -1."""
    for line in answer.lines:
        found = fields(line)
        if line.startswith(name) and [number(each) for each in found[: len(keys)]] == list(keys):
            return number(found[-1]) if len(found) > len(keys) else -1
    return -1


def sent(answer: Answer, socket: int) -> int:
    """Return the number of sent bytes of a datagram in ``+USOST: 3,16``, -1 if there is none."""
    return _told(answer, "+USOST:", socket)


def send(socket: int, host: str, port: int, data: bytes) -> tuple[str, bytes | None]:
    """Return the command that sends a datagram, and the input of its prompt if it is a long one."""
    start = f'AT+USOST={socket},"{host}",{port},{len(data)}'
    return (start, data) if len(data) > CHUNK else (f'{start},"{data.hex().upper()}"', None)


def read(socket: int) -> str:
    """Return the command that reads at most `READ` bytes of a stream."""
    return f"AT+USORD={socket},{READ}"


def data_read(answer: Answer) -> bytes:
    """Return the bytes read: ``+USORD: 0,5,"48656C6C6F"``, or ``+USORD: 0,""`` for none."""
    for line in answer.lines:
        found = fields(line)
        if line.startswith("+USORD:") and len(found) >= 3:
            return unhex(found[2])
    return b""


def is_whole(answer: Answer, socket: int) -> bool:
    """Return whether ``+USORD: 0,5,"48656C6C6F"`` is of ``socket``, with as many bytes as it announces."""
    for line in answer.lines:
        found = fields(line)
        if line.startswith("+USORD:"):
            counted = len(found) < 3 or number(found[1]) == len(unhex(found[2]))
            return counted and number(found[0]) == socket
    return True


def read_datagram(socket: int) -> str:
    """Return the command that reads one datagram."""
    return f"AT+USORF={socket},{DATAGRAM}"


def datagram_read(answer: Answer) -> tuple[str, int, bytes] | None:
    """Return address, port and bytes of a datagram: ``+USORF: 3,"10.0.0.1",2222,2,"4F4B"``; None for none."""
    for line in answer.lines:
        found = fields(line)
        if line.startswith("+USORF:") and len(found) >= 5:
            port, data = number(found[2]), unhex(found[4])
            return (found[1], port, data) if data and port >= 0 else None
    return None


def listen(socket: int, port: int) -> str:
    """Return the command that listens."""
    return f"AT+USOLI={socket},{port}"


def ask_error(socket: int) -> str:
    """Return the command that queries a socket's last error [UBX-17003787 R16, section 19.23]."""
    return f"AT+USOCTL={socket},1"


def ask_sent(socket: int) -> str:
    """Return the command that queries all bytes that a socket has accepted, acknowledged or not."""
    return f"AT+USOCTL={socket},2"


def figure(answer: Answer, *asked: int) -> int:
    """Return the number in ``+USOCTL: 0,2,38``, -1 if none is of the queried socket and kind ``asked``."""
    return _told(answer, "+USOCTL:", *asked)


def ask_outstanding(socket: int) -> str:
    """Return the command that queries the bytes that the peer has not acknowledged."""
    return f"AT+USOCTL={socket},11"


def close(socket: int) -> str:
    """Return the command that closes a socket; it answers when the peer has closed too."""
    return f"AT+USOCL={socket}"


def is_active(answer: Answer) -> bool:
    """Return whether the profile is active, from the answer to `ACTIVE`, ``+UPSND: 0,8,1``."""
    return any(fields(line) == ["0", "8", "1"] for line in answer.lines)


def address(answer: Answer) -> str | None:
    """Return the address in ``+UPSND: 0,0,"10.0.0.1"`` or ``+CGPADDR: 1,"10.0.0.1"``."""
    for line in answer.lines:
        found = fields(line)
        if line.startswith(("+UPSND:", "+CGPADDR:")) and "." in found[-1] and found[-1].strip("0."):
            return found[-1]
    return None


def event(urc: Urc, *, r4: bool = False) -> SocketEvent | None:
    """Return the socket event of an unsolicited code; None for any other code, and for broken ones.

    On SARA-R4 the sockets' context is number 1 of +CGDCONT; SARA-U2's profile chooses a context itself.
    """
    name = urc.line.partition(":")[0]
    found = fields(urc.line)
    if name in ("+UUSORD", "+UUSORF"):
        return Readable(at[0]) if (at := numbers(found, 1)) else None
    if name == "+UUSOCL":
        return Closed(at[0]) if (at := numbers(found, 1)) else None
    if name == "+UUSOLI" and len(found) >= 4:  # socket, address, port, listening socket, own address and port
        at = numbers([found[0], found[3], found[2]], 3)
        return Incoming(at[0], at[1], found[1], at[2]) if at else None
    if name == "+UUPSDD" or (r4 and context_lost(urc.line)):
        return ContextLost()
    return None
