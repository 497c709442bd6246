"""The socket commands of Quectel modems [Quectel BG96 TCP/IP AT Commands Manual]."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from bridge.sim.modem.net import Unreachable
from bridge.sim.modem.pool import Pool, QueueFull, Socket
from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.line import Kind
from bridge.sim.modem.port.results import OK, Refused, Reply, told
from bridge.sim.modem.radio import ADDRESS, Radio

_LAST: Final = 11
"""Highest number of a connection; incoming connections get numbers from the top, down to 0."""

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


class QuectelSockets:
    """The sockets, and the packet contexts below them; ``code`` sends unsolicited codes."""

    def __init__(self, radio: Radio, pool: Pool, code: Callable[[str | bytes], None]) -> None:
        self._radio = radio
        self._pool = pool
        self._code = code
        self._contexts: set[int] = set()
        self._error = _OK
        self._tasks: set[asyncio.Task[None]] = set()
        pool.numbers = range(_LAST, -1, -1)
        pool.on_data = self._came
        pool.on_end = lambda each: code(f'+QIURC: "closed",{each.number}')
        pool.on_accept = self._accepted
        pool.on_full = lambda: code('+QIURC: "incoming full"')

    # -- life --------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Reset the settings that a restart resets."""
        self._contexts.clear()

    def lost(self) -> None:
        """Lose the packet context, because the network ended it or registration was lost."""
        for context in sorted(self._contexts):
            self._code(f'+QIURC: "pdpdeact",{context}')
        self._contexts.clear()
        self._pool.drop()

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handler of each command."""
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
            rows = [f'+QIACT: {each},1,1,"{ADDRESS}"' for each in sorted(self._contexts)]
            return told("\r\n".join(rows)) if rows else OK
        context = call.command.number(0)
        await asyncio.sleep(0.05)
        if not (self._radio.registered and self._radio.attached) or context in self._contexts:
            raise Refused
        self._contexts.add(context)
        return OK

    async def _deactivate(self, call: Call) -> Reply:
        context = call.command.number(0)
        await asyncio.sleep(0.02)
        self._pool.drop(context)
        self._contexts.discard(context)
        return OK

    # -- opening -----------------------------------------------------------------------------------------

    def _open(self, call: Call) -> Reply:
        command = call.command
        context, number, kind = command.number(0), command.number(1), command.text_at(2)
        remote = command.text_at(3), command.number(4)
        local, access = command.number(5, 0), command.number(6, 0)
        if kind not in {"TCP", "UDP", "TCP LISTENER", "UDP SERVICE"} or number > _LAST or access > _PUSH:
            raise Refused
        if context not in self._contexts:
            self._error = _NO_CONTEXT
            raise Refused
        if self._pool.get(number) is not None:
            self._error = _IN_USE
            return Reply(then=lambda: self._code(f"+QIOPEN: {number},{_IN_USE}"))
        made = self._pool.add(
            Socket(
                number, kind, local_port=local, remote=remote, context=context, access=access, listener=number
            )
        )
        return Reply(then=lambda: self._begin(made))

    def _begin(self, made: Socket) -> None:
        task = asyncio.create_task(self._opening(made))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _opening(self, made: Socket) -> None:
        opener = {"TCP": self._open_tcp, "TCP LISTENER": self._open_listener}.get(made.kind, self._open_udp)
        self._error = await opener(made, *(made.remote or ("", 0)))
        if not self._pool.holds(made):  # closed meanwhile
            return
        self._code(f"+QIOPEN: {made.number},{self._error}")
        if self._error:
            self._pool.close(made)
        else:
            self._pool.report(made)

    async def _open_tcp(self, made: Socket, host: str, port: int) -> int:
        try:
            self._pool.places.lead(host, port)
        except Unreachable:
            await asyncio.sleep(0.2)
            return _DNS if any(sign.isalpha() for sign in host) else _CONNECT
        try:
            await self._pool.connect(made, host, port)
        except Unreachable:
            return _CONNECT
        return _OK

    async def _open_udp(self, made: Socket, host: str, port: int) -> int:
        try:
            if made.kind == "UDP":
                made.remote = self._pool.places.lead(host, port)
            await self._pool.bind(made, made.local_port)
        except Unreachable:
            return _CONNECT if made.kind == "UDP" else _BIND
        return _OK

    async def _open_listener(self, made: Socket, _host: str, _port: int) -> int:
        try:
            await self._pool.listen(made, made.local_port)
        except Unreachable:
            return _LISTEN
        return _OK

    def _accepted(self, made: Socket) -> None:
        made.kind = "TCP INCOMING"
        host, port = made.remote or ("", 0)
        self._code(f'+QIURC: "incoming",{made.number},{made.listener},"{host}",{port}')

    # -- receiving ---------------------------------------------------------------------------------------

    def _came(self, made: Socket) -> None:
        if made.access == _BUFFER:
            if not made.notified:
                made.notified = True
                self._code(f'+QIURC: "recv",{made.number}')
            return
        while made.unread:
            data, source = _next(made, _MOST_READ)
            self._code(f'+QIURC: "recv",{made.number},{len(data)}{source}\r\n'.encode() + data)

    def _read(self, call: Call) -> Reply:
        made = self._get(call)
        if made.access != _BUFFER:
            raise Refused
        if call.command.text_at(1) == "0":
            return told(f"+QIRD: {made.unread},0,{made.unread}")
        most = min(call.command.number(1, _MOST_READ), _MOST_READ)
        data, source = _next(made, most) if made.unread else (b"", "")
        made.notified = made.notified and made.unread > 0
        if not data:
            return told("+QIRD: 0")
        return told(f"+QIRD: {len(data)}{source}\r\n".encode() + data + b"\r\n")

    # -- sending -----------------------------------------------------------------------------------------

    def _get(self, call: Call) -> Socket:
        found = self._pool.get(call.command.number(0))
        if found is None or found.state not in {"connected", "closing"}:
            raise Refused
        return found

    async def _send(self, call: Call) -> Reply:
        made = self._get(call)
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
        made = self._get(call)
        data = bytes.fromhex(call.command.text_at(1))
        if made.state != "connected" or not 0 < len(data) <= _MOST_HEX or made.kind == "UDP SERVICE":
            raise Refused
        return await self._transmit(made, data, ())

    async def _transmit(self, made: Socket, data: bytes, args: tuple[str, ...]) -> Reply:
        service = made.kind == "UDP SERVICE"
        try:
            data = await self._pool.queue(data)
            to = self._pool.places.lead(args[2], int(args[3])) if service else made.remote
            self._pool.send(made, data, to)
        except (QueueFull, Unreachable):
            return Reply(final="SEND FAIL")
        except IndexError:
            raise Refused from None
        return Reply(final="SEND OK")

    async def _close(self, call: Call) -> Reply:
        number = call.command.number(0)
        if number > _LAST:
            raise Refused
        made = self._pool.get(number)
        if made is not None:
            self._pool.close(made)
            await asyncio.sleep(0.01)
        return OK

    def _status(self, call: Call) -> Reply:
        command = call.command
        wanted = self._pool.all()
        if command.kind is Kind.SET and command.number(0) == 1:
            wanted = [each for each in wanted if each.number == command.number(1)]
        elif command.kind is Kind.SET:
            wanted = [each for each in wanted if each.context == command.number(1)]
        return told("\r\n".join(map(_row, wanted))) if wanted else OK

    def _resolve(self, call: Call) -> Reply:
        if call.command.number(0) not in self._contexts:
            raise Refused
        try:
            found = self._pool.places.resolve(call.command.text_at(1))
        except Unreachable:
            return Reply(then=lambda: self._code(f'+QIURC: "dnsgip",{_DNS}'))
        # Two codes in sequence: the number of addresses, then each address.
        return Reply(then=lambda: self._code(f'+QIURC: "dnsgip",0,1,600\r\n\r\n+QIURC: "dnsgip","{found}"'))


def _row(each: Socket) -> str:
    host, port = each.remote or ("", 0)
    return (
        f'+QISTATE: {each.number},"{each.kind}","{host}",{port},{each.local_port},'
        f'{_STATES[each.state]},{each.context},{each.listener},{each.access},"usbmodem"'
    )


def _next(made: Socket, most: int) -> tuple[bytes, str]:
    """Take one piece; return its bytes, and for a UDP service its sender as text."""
    data, (host, port) = made.take(most)
    return data, f',"{host}",{port}' if made.kind == "UDP SERVICE" else ""
