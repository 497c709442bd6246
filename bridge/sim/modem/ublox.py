"""Sockets of u-blox modems, and the packet context below them.

[u-blox SARA-U2 AT commands manual, UBX-13001820; u-blox SARA-R4 AT commands manual, UBX-17003787]
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.sim.modem.faults import Sends
from bridge.sim.modem.net import Datagrams, Places, Stream, Unreachable, connect, datagrams, listen
from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.results import OK, Refused, Reply, cme, told
from bridge.sim.modem.profiles import Profile
from bridge.sim.modem.radio import ADDRESS, Radio

_SOCKETS: Final = 7
_TCP, _UDP = 6, 17
_MOST_TEXT: Final = 1024
_MOST_HEX: Final = {"ublox": 250, "ublox-r4": 512}
"""Bytes a write takes in hex mode."""

_FULL: Final = 11
"""The error of a socket whose queue has no room."""

_ESTABLISHED, _CLOSE_WAIT, _LISTEN, _INACTIVE = 4, 7, 1, 0


class _Socket:
    """One of the seven; ``told`` says that the host knows of unread data."""

    def __init__(self, protocol: int, port: int) -> None:
        self.protocol = protocol
        self.port = port
        self.stream: Stream | None = None
        self.udp: Datagrams | None = None
        self.server: asyncio.Server | None = None
        self.told = False
        self.error = 0
        self.remote: tuple[str, int] | None = None

    @property
    def unread(self) -> int:
        if self.udp is not None:
            return sum(len(data) for data, _, _ in self.udp.unread)
        return len(self.stream.unread) if self.stream is not None else 0

    def close(self, *, abort: bool = False) -> None:
        if self.server is not None:
            self.server.close()
        if self.udp is not None:
            self.udp.close()
        if self.stream is not None:
            (self.stream.abort if abort else self.stream.close)()


class UbloxSockets:
    """The sockets and the packet context below them; ``code`` sends unsolicited codes.

    ``note`` tells of ports that are listened on: the modem's, then this machine's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        profile: Profile,
        radio: Radio,
        places: Places,
        sends: Sends,
        *,
        code: Callable[[str], None],
        note: Callable[[int, int], None],
    ) -> None:
        self._loop = loop
        self._profile = profile
        self._radio = radio
        self._places = places
        self._sends = sends
        self._code = code
        self._note = note
        self._own_context = profile.sockets == "ublox"
        """Whether ``+UPSDA`` opens a context of its own; on SARA-R4 it is the one of ``+CGACT``."""
        self._context = False
        self._sockets: dict[int, _Socket] = {}
        self._hex = False
        self._last_error = 0

    # -- life --------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget everything; peers see resets."""
        self._drop_all(say=False)
        self._context = False
        self._hex = False

    def lost(self) -> None:
        """Lose the packet context: the network took it, or was left."""
        if self._own_context:
            if self._context:
                self._context = False
                self._code("+UUPSDD: 0")
        elif self._sockets:
            self._code("+CGEV: NW PDN DEACT 1")
        self._drop_all(say=True)

    def _drop_all(self, *, say: bool) -> None:
        for number, each in list(self._sockets.items()):
            each.close(abort=True)
            del self._sockets[number]
            if say and each.server is None:
                self._code(f"+UUSOCL: {number}")

    def state(self) -> list[dict[str, Any]]:
        """Return what is open."""
        return [
            {
                "socket": number,
                "protocol": "UDP" if each.protocol == _UDP else "TCP",
                "listening": each.server is not None,
                "unread": each.unread,
            }
            for number, each in sorted(self._sockets.items())
        ]

    @property
    def up(self) -> bool:
        """Whether there is a packet context."""
        return self._context if self._own_context else bool(self._radio.active)

    def handlers(self) -> Mapping[str, Handler]:
        """Return what answers each command."""
        table: dict[str, Handler] = {
            "+USOCR": self._create,
            "+USOCO": self._connect,
            "+USOWR": self._write,
            "+USOST": self._send_to,
            "+USORD": self._read,
            "+USORF": self._read_from,
            "+USOCL": self._close,
            "+USOLI": self._listen,
            "+USOSO": lambda _: OK,
            "+USOGO": lambda _: OK,
            "+USOER": lambda _: told(f"+USOER: {self._last_error}"),
            "+USOCTL": self._control,
            "+UDCONF": self._configure,
            "+UDNSRN": self._resolve,
        }
        if self._own_context:
            table |= {"+UPSD": lambda _: OK, "+UPSDA": self._activate, "+UPSND": self._context_status}
        return table

    # -- packet context ----------------------------------------------------------------------------------

    async def _activate(self, call: Call) -> Reply:
        if call.command.number(0) != 0:
            raise cme(4)
        action = call.command.number(1)
        await asyncio.sleep(0.05)
        if action == 3:
            if not (self._radio.registered and self._radio.attached):
                raise cme(3)
            self._context = True
            return Reply(then=lambda: self._code(f'+UUPSDA: 0,"{ADDRESS}"'))
        if action == 4:
            if not self._context:
                raise cme(3)
            self._context = False
            self._drop_all(say=True)
        return OK

    def _context_status(self, call: Call) -> Reply:
        tag = call.command.number(1, 8)
        answers = {0: f'"{ADDRESS if self._context else "0.0.0.0"}"', 8: int(self._context)}  # noqa: S104
        if tag not in answers:
            raise cme(4)
        return told(f"+UPSND: 0,{tag},{answers[tag]}")

    # -- sockets -----------------------------------------------------------------------------------------

    def _get(self, call: Call, protocol: int | None = None) -> tuple[int, _Socket]:
        number = call.command.number(0)
        found = self._sockets.get(number)
        if found is None or (protocol is not None and found.protocol != protocol):
            raise cme(3)
        return number, found

    def _free(self) -> int:
        for number in range(_SOCKETS):
            if number not in self._sockets:
                return number
        raise cme(3)

    async def _create(self, call: Call) -> Reply:
        protocol, port = call.command.number(0), call.command.number(1, 0)
        if protocol not in {_TCP, _UDP}:
            raise cme(4)
        if not self.up:
            raise cme(3)
        number = self._free()
        made = self._sockets[number] = _Socket(protocol, port)
        if protocol == _UDP:
            try:
                made.udp = await datagrams(self._places.listen_at(port))
            except Unreachable:
                del self._sockets[number]
                raise cme(3) from None
            made.udp.on_data = lambda: self._came(number, made)
            self._note(port, made.udp.port)
        return told(f"+USOCR: {number}")

    async def _connect(self, call: Call) -> Reply:
        number, found = self._get(call)
        host, port = call.command.text_at(1), call.command.number(2)
        if found.protocol == _UDP:
            found.remote = host, port
            return OK
        if found.stream is not None or not self.up:
            raise cme(3)
        try:
            stream = await connect(self._places, host, port)
        except Unreachable:
            self._last_error = found.error = 111
            if self._sockets.pop(number, None):
                self._loop.call_soon(self._code, f"+UUSOCL: {number}")
            raise cme(3) from None
        self._attach(number, found, stream)
        return OK

    def _attach(self, number: int, found: _Socket, stream: Stream) -> None:
        found.stream = stream
        stream.on_data = lambda: self._came(number, found)
        stream.on_end = lambda: self._ended(number, found)
        if stream.unread:
            self._loop.call_soon(self._came, number, found)
        if stream.ended:
            self._loop.call_soon(self._ended, number, found)

    def _came(self, number: int, found: _Socket) -> None:
        """Tell of unread data, once until it is read."""
        if self._sockets.get(number) is found and not found.told and found.unread:
            found.told = True
            form = "+UUSORF" if found.protocol == _UDP and not self._own_context else "+UUSORD"
            self._code(f"{form}: {number},{found.unread}")

    def _ended(self, number: int, found: _Socket) -> None:
        """Tell that the peer has closed, once all it sent was read."""
        if self._sockets.get(number) is found and not found.unread:
            found.close()
            del self._sockets[number]
            self._code(f"+UUSOCL: {number}")

    async def _write(self, call: Call) -> Reply:
        number, found = self._get(call)
        count = call.command.number(1)
        data = await self._given(call, 2, count)
        await asyncio.sleep(self._sends.slow)
        if self._sends.fail():
            self._last_error = found.error = _FULL
            raise cme(3)
        count = self._sends.taken(count)
        data = data[:count]
        try:
            if found.udp is not None:
                if found.remote is None:
                    raise cme(3)
                found.udp.send(data, self._places.lead(*found.remote))
            elif found.stream is None:
                raise cme(3)
            else:
                found.stream.send(data)
        except Unreachable:
            self._last_error = found.error = 32
            raise cme(3) from None
        return told(f"+USOWR: {number},{count}")

    async def _send_to(self, call: Call) -> Reply:
        number, found = self._get(call, _UDP)
        host, port, count = call.command.text_at(1), call.command.number(2), call.command.number(3)
        data = await self._given(call, 4, count)
        try:
            where = self._places.lead(host, port)
        except Unreachable:
            raise cme(3) from None
        if found.udp is not None:
            found.udp.send(data, where)
        return told(f"+USOST: {number},{count}")

    async def _given(self, call: Call, index: int, count: int) -> bytes:
        """Return the data of a write: after the ``@`` prompt, in hex mode, or as text."""
        if len(call.command.args) <= index:
            if not 0 < count <= _MOST_TEXT:
                raise cme(4)
            return await call.port.prompt_bytes(b"\r\n@", count)
        text = call.command.args[index]
        most = _MOST_HEX[self._profile.sockets] if self._hex else _MOST_TEXT
        data = bytes.fromhex(text) if self._hex else text.encode("latin-1")
        if len(data) != count or count > most:
            raise cme(4)
        return data

    def _read(self, call: Call) -> Reply:
        number, found = self._get(call)
        count = call.command.number(1)
        if not count:
            return told(f"+USORD: {number},{found.unread}")
        if found.udp is not None:
            data = found.udp.unread.pop(0)[0][:count] if found.udp.unread else b""
        else:
            data = found.stream.take(min(count, _MOST_TEXT)) if found.stream is not None else b""
        head = f"+USORD: {number},{len(data)},".encode()
        return Reply((head + self._shown(data),), then=lambda: self._was_read(number, found))

    def _read_from(self, call: Call) -> Reply:
        number, found = self._get(call, _UDP)
        count = call.command.number(1)
        if not count or found.udp is None:
            return told(f"+USORF: {number},{found.unread}")
        if not found.udp.unread:
            return told(f'+USORF: {number},"",0,0,""')
        data, host, port = found.udp.unread.pop(0)
        data = data[:count]
        head = f'+USORF: {number},"{host}",{port},{len(data)},'.encode()
        return Reply((head + self._shown(data),), then=lambda: self._was_read(number, found))

    def _shown(self, data: bytes) -> bytes:
        return b'"' + (data.hex().upper().encode() if self._hex else data) + b'"'

    def _was_read(self, number: int, found: _Socket) -> None:
        found.told = False
        self._came(number, found)
        if found.stream is not None and found.stream.ended:
            self._ended(number, found)

    def _close(self, call: Call) -> Reply:
        number, found = self._get(call)
        found.close()
        del self._sockets[number]
        return OK

    async def _listen(self, call: Call) -> Reply:
        number, found = self._get(call, _TCP)
        port = call.command.number(1)
        if found.stream is not None or found.server is not None or not 0 < port < 65536:
            raise cme(3)

        def accepted(stream: Stream) -> None:
            try:
                fresh = self._free()
            except Refused:  # all seven are taken
                stream.abort()
                return
            made = self._sockets[fresh] = _Socket(_TCP, port)
            host, source = stream.peer
            self._code(f'+UUSOLI: {fresh},"{host}",{source},{number},"{ADDRESS}",{port}')
            self._attach(fresh, made, stream)

        try:
            found.server = await listen(self._places.listen_at(port), accepted)
        except Unreachable:
            self._last_error = found.error = 98
            raise cme(3) from None
        self._note(port, found.server.sockets[0].getsockname()[1])
        return OK

    def _control(self, call: Call) -> Reply:
        number, found = self._get(call)
        what = call.command.number(1)
        stream = found.stream
        state = _INACTIVE
        if stream is not None:
            state = _CLOSE_WAIT if stream.ended else _ESTABLISHED
        elif found.server is not None:
            state = _LISTEN
        answers = {
            0: found.protocol,
            1: found.error,
            2: stream.sent if stream is not None else 0,
            3: found.unread,
            10: state,
            11: 0,
        }
        if what not in answers:
            raise cme(4)
        return told(f"+USOCTL: {number},{what},{answers[what]}")

    def _configure(self, call: Call) -> Reply:
        if call.command.number(0) != 1:
            return OK
        if len(call.command.args) == 1:
            return told(f"+UDCONF: 1,{int(self._hex)}")
        self._hex = bool(call.command.number(1))
        return OK

    async def _resolve(self, call: Call) -> Reply:
        await asyncio.sleep(0.02)
        if not self.up:
            raise cme(3)
        try:
            return told(f'+UDNSRN: "{self._places.resolve(call.command.text_at(1))}"')
        except Unreachable:
            raise cme(3) from None
