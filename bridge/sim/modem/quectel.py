"""Sockets of Quectel modems, and the packet context below them [Quectel BG96 TCP/IP AT Commands Manual]."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.sim.modem.faults import Sends
from bridge.sim.modem.net import Datagrams, Places, Stream, Unreachable, connect, datagrams, listen
from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.line import Kind
from bridge.sim.modem.port.results import OK, Refused, Reply, told
from bridge.sim.modem.radio import ADDRESS, Radio

_LAST: Final = 11
"""Connections have the numbers 0 to 11; what comes in gets them from the top."""

_MOST: Final = 1460
_MOST_HEX: Final = 512
_MOST_READ: Final = 1500
_OK, _BLOCKED, _PARAMETERS, _BIND, _LISTEN = 0, 551, 552, 556, 557
_IN_USE, _DNS, _CONNECT, _NO_CONTEXT = 563, 565, 566, 561
_WORDS: Final = {
    _OK: "Operate successfully",
    _BLOCKED: "Operation blocked",
    _PARAMETERS: "Invalid parameters",
    _BIND: "Socket bind failed",
    _LISTEN: "Socket listen failed",
    _IN_USE: "Socket identity has been used",
    _DNS: "DNS parse failed",
    _CONNECT: "Socket connect failed",
    _NO_CONTEXT: "PDP context open failed",
}
_BUFFER, _PUSH = 0, 1
_STATES: Final = {"connecting": 1, "connected": 2, "listening": 3, "closing": 4}


class _Socket:
    """One connection; ``told`` says that the host knows of unread data (in buffer mode)."""

    def __init__(self, kind: str, context: int, access: int, server: int = 0) -> None:
        self.kind = kind
        self.context = context
        self.access = access
        self.server_id = server
        self.remote = ("", 0)
        self.local_port = 0
        self.state = "connecting"
        self.stream: Stream | None = None
        self.udp: Datagrams | None = None
        self.server: asyncio.Server | None = None
        self.told = False

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


class QuectelSockets:
    """The sockets; ``code`` sends unsolicited codes, ``note`` tells of ports that are listened on."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        radio: Radio,
        places: Places,
        sends: Sends,
        *,
        code: Callable[[str | bytes], None],
        note: Callable[[int, int], None],
    ) -> None:
        self._loop = loop
        self._radio = radio
        self._places = places
        self._sends = sends
        self._code = code
        self._note = note
        self._contexts: set[int] = set()
        self._sockets: dict[int, _Socket] = {}
        self._error = _OK
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life --------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget everything; peers see resets."""
        self._drop_all()
        self._contexts.clear()

    def lost(self) -> None:
        """Lose the packet context: the network took it, or was left."""
        for context in sorted(self._contexts):
            self._code(f'+QIURC: "pdpdeact",{context}')
        self._contexts.clear()
        self._drop_all()

    def _drop_all(self) -> None:
        for each in self._sockets.values():
            each.close(abort=True)
        self._sockets.clear()

    def state(self) -> list[dict[str, Any]]:
        """Return what is open."""
        return [
            {
                "socket": number,
                "protocol": each.kind,
                "listening": each.state == "listening",
                "unread": each.unread,
            }
            for number, each in sorted(self._sockets.items())
        ]

    def handlers(self) -> Mapping[str, Handler]:
        """Return what answers each command."""
        return {
            "+QICSGP": lambda _: OK,
            "+QIACT": self._activate,
            "+QIDEACT": self._deactivate,
            "+QIOPEN": self._open,
            "+QICLOSE": self._close,
            "+QISTATE": self._status,
            "+QISEND": self._send,
            "+QISENDEX": self._send_hex,
            "+QIRD": self._read,
            "+QIGETERROR": lambda _: told(f'+QIGETERROR: {self._error},"{_WORDS[self._error]}"'),
            "+QIDNSGIP": self._resolve,
            "+QNWINFO": lambda _: told('+QNWINFO: "FDD LTE","00101","LTE BAND 3",1300'),
        }

    # -- packet context ----------------------------------------------------------------------------------

    async def _activate(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return (
                told("\r\n".join(f'+QIACT: {each},1,1,"{ADDRESS}"' for each in sorted(self._contexts)))
                if (self._contexts)
                else OK
            )
        context = call.command.number(0)
        await asyncio.sleep(0.05)
        if not (self._radio.registered and self._radio.attached) or context in self._contexts:
            raise Refused
        self._contexts.add(context)
        return OK

    async def _deactivate(self, call: Call) -> Reply:
        context = call.command.number(0)
        await asyncio.sleep(0.02)
        for number, each in list(self._sockets.items()):
            if each.context == context:
                each.close(abort=True)
                del self._sockets[number]
        self._contexts.discard(context)
        return OK

    # -- opening -----------------------------------------------------------------------------------------

    def _open(self, call: Call) -> Reply:
        command = call.command
        context, number, kind = command.number(0), command.number(1), command.text_at(2)
        host, port = command.text_at(3), command.number(4)
        local, access = command.number(5, 0), command.number(6, 0)
        if kind not in {"TCP", "UDP", "TCP LISTENER", "UDP SERVICE"} or number > _LAST or access > _PUSH:
            raise Refused
        if context not in self._contexts:
            self._error = _NO_CONTEXT
            raise Refused
        if number in self._sockets:
            self._error = _IN_USE
            return Reply(then=lambda: self._code(f"+QIOPEN: {number},{_IN_USE}"))
        made = self._sockets[number] = _Socket(kind, context, access, number)
        made.remote, made.local_port = (host, port), local
        return Reply(then=lambda: self._begin(number, made))

    def _begin(self, number: int, made: _Socket) -> None:
        task = self._loop.create_task(self._opening(number, made))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _opening(self, number: int, made: _Socket) -> None:
        opener = {"TCP": self._open_tcp, "TCP LISTENER": self._open_listener}.get(made.kind, self._open_udp)
        self._error = await opener(number, made)
        if self._sockets.get(number) is not made:  # closed meanwhile
            made.close(abort=True)
            return
        self._code(f"+QIOPEN: {number},{self._error}")
        if self._error:
            del self._sockets[number]
        else:
            self._came(number, made)
            self._peer_left(number, made)

    async def _open_tcp(self, number: int, made: _Socket) -> int:
        try:
            self._places.lead(*made.remote)
        except Unreachable:
            await asyncio.sleep(0.2)
            return _DNS if any(sign.isalpha() for sign in made.remote[0]) else _CONNECT
        try:
            made.stream = await connect(self._places, *made.remote)
        except Unreachable:
            return _CONNECT
        made.state = "connected"
        self._attach(number, made, made.stream)
        return _OK

    def _attach(self, number: int, made: _Socket, stream: Stream) -> None:
        stream.on_data = lambda: self._came(number, made)
        stream.on_end = lambda: self._peer_left(number, made)

    async def _open_udp(self, number: int, made: _Socket) -> int:
        try:
            if made.kind == "UDP":
                made.remote = self._places.lead(*made.remote)
            made.udp = await datagrams(self._places.listen_at(made.local_port))
        except Unreachable:
            return _CONNECT if made.kind == "UDP" else _BIND
        made.state = "connected"
        made.udp.on_data = lambda: self._came(number, made)
        self._note(made.local_port, made.udp.port)
        return _OK

    async def _open_listener(self, number: int, made: _Socket) -> int:
        def accepted(stream: Stream) -> None:
            free = [each for each in range(_LAST, -1, -1) if each not in self._sockets]
            if not free:
                stream.abort()
                self._code('+QIURC: "incoming full"')
                return
            fresh = _Socket("TCP INCOMING", made.context, made.access, number)
            fresh.stream, fresh.state, fresh.remote = stream, "connected", stream.peer
            fresh.local_port = made.local_port
            self._sockets[free[0]] = fresh
            self._attach(free[0], fresh, stream)
            host, port = stream.peer
            self._code(f'+QIURC: "incoming",{free[0]},{number},"{host}",{port}')

        try:
            made.server = await listen(self._places.listen_at(made.local_port), accepted)
        except Unreachable:
            return _LISTEN
        made.state = "listening"
        self._note(made.local_port, made.server.sockets[0].getsockname()[1])
        return _OK

    # -- receiving ---------------------------------------------------------------------------------------

    def _came(self, number: int, made: _Socket) -> None:
        if self._sockets.get(number) is not made or not made.unread:
            return
        if made.access == _BUFFER:
            if not made.told:
                made.told = True
                self._code(f'+QIURC: "recv",{number}')
            return
        while made.unread:
            data, source = self._next(made, _MOST_READ)
            self._code(f'+QIURC: "recv",{number},{len(data)}{source}\r\n'.encode() + data)

    def _next(self, made: _Socket, most: int) -> tuple[bytes, str]:
        """Take one piece: its bytes, and for a UDP service its sender as it is shown."""
        if made.udp is not None:
            data, host, port = made.udp.unread.pop(0)
            return data[:most], f',"{host}",{port}' if made.kind == "UDP SERVICE" else ""
        return (made.stream.take(most) if made.stream is not None else b""), ""

    def _peer_left(self, number: int, made: _Socket) -> None:
        stream = made.stream
        known = self._sockets.get(number) is made and made.state == "connected"
        if known and stream is not None and stream.ended:
            made.state = "closing"
            self._code(f'+QIURC: "closed",{number}')

    def _read(self, call: Call) -> Reply:
        _, made = self._get(call)
        if made.access != _BUFFER:
            raise Refused
        if call.command.text_at(1) == "0":
            return told(f"+QIRD: {made.unread},0,{made.unread}")
        most = min(call.command.number(1, _MOST_READ), _MOST_READ)
        data, source = self._next(made, most) if made.unread else (b"", "")
        if not made.unread:
            made.told = False
        if not data:
            return told("+QIRD: 0")
        return told(f"+QIRD: {len(data)}{source}\r\n".encode() + data + b"\r\n")

    # -- sending -----------------------------------------------------------------------------------------

    def _get(self, call: Call) -> tuple[int, _Socket]:
        number = call.command.number(0)
        found = self._sockets.get(number)
        if found is None or found.state not in {"connected", "closing"}:
            raise Refused
        return number, found

    async def _send(self, call: Call) -> Reply:
        _, made = self._get(call)
        args = call.command.args
        if args[1:] == ("0",):
            sent = made.stream.sent if made.stream is not None else 0
            return told(f"+QISEND: {sent},{sent},0")
        if made.state != "connected":
            raise Refused
        if len(args) < 2:
            typed = await call.port.prompt_text()
            return Reply() if typed is None else await self._transmit(made, typed, args)
        count = call.command.number(1)
        if not 0 < count <= _MOST:
            raise Refused
        data = await call.port.prompt_bytes(b"\r\n> ", count)
        return await self._transmit(made, data, args)

    async def _send_hex(self, call: Call) -> Reply:
        _, made = self._get(call)
        data = bytes.fromhex(call.command.text_at(1))
        if made.state != "connected" or not 0 < len(data) <= _MOST_HEX or made.kind == "UDP SERVICE":
            raise Refused
        return await self._transmit(made, data, ())

    async def _transmit(self, made: _Socket, data: bytes, args: tuple[str, ...]) -> Reply:
        await asyncio.sleep(self._sends.slow)
        if self._sends.fail():
            return Reply(final="SEND FAIL")
        try:
            if made.udp is not None:
                to = self._places.lead(args[2], int(args[3])) if made.kind == "UDP SERVICE" else made.remote
                made.udp.send(data, to)
            elif made.stream is not None:
                made.stream.send(data)
        except Unreachable:
            return Reply(final="SEND FAIL")
        except IndexError:
            raise Refused from None
        return Reply(final="SEND OK")

    async def _close(self, call: Call) -> Reply:
        number = call.command.number(0)
        if number > _LAST:
            raise Refused
        made = self._sockets.pop(number, None)
        if made is not None:
            made.close()
            await asyncio.sleep(0.01)
        return OK

    def _status(self, call: Call) -> Reply:
        command = call.command
        wanted = dict(self._sockets)
        if command.kind is Kind.SET and command.number(0) == 1:
            wanted = {number: each for number, each in wanted.items() if number == command.number(1)}
        elif command.kind is Kind.SET:
            wanted = {number: each for number, each in wanted.items() if each.context == command.number(1)}
        rows = [
            f'+QISTATE: {number},"{each.kind}","{each.remote[0]}",{each.remote[1]},{each.local_port},'
            f'{_STATES[each.state]},{each.context},{each.server_id},{each.access},"usbmodem"'
            for number, each in sorted(wanted.items())
        ]
        return told("\r\n".join(rows)) if rows else OK

    def _resolve(self, call: Call) -> Reply:
        if call.command.number(0) not in self._contexts:
            raise Refused
        name = call.command.text_at(1)
        try:
            found = self._places.resolve(name)
        except Unreachable:
            return Reply(then=lambda: self._code(f'+QIURC: "dnsgip",{_DNS}'))
        # Two codes, one after the other: how many addresses there are, and each of them.
        return Reply(then=lambda: self._code(f'+QIURC: "dnsgip",0,1,600\r\n\r\n+QIURC: "dnsgip","{found}"'))
