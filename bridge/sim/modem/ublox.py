"""Sockets of u-blox modems, and the packet context below them.

[u-blox SARA-U2 AT commands manual, UBX-13001820; u-blox SARA-R4 AT commands manual, UBX-17003787]
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from bridge.sim.modem.net import Unreachable
from bridge.sim.modem.pool import Pool, QueueFull, Socket
from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.results import OK, Refused, Reply, cme, told
from bridge.sim.modem.profiles import Profile
from bridge.sim.modem.radio import ADDRESS, Radio

_SOCKETS: Final = 7
_KINDS: Final = {6: "TCP", 17: "UDP"}
_MOST_TEXT: Final = 1024
_MOST_HEX: Final = {"ublox": 250, "ublox-r4": 512}
"""Bytes of one write in hex mode."""

_IN_USE, _REFUSED, _BROKEN, _FULL = 98, 111, 32, 11
"""Errors of a socket; the last is a full send queue."""

_STATES: Final = {"connecting": 0, "listening": 1, "connected": 4, "closing": 7}


class UbloxSockets:
    """The sockets, and the packet context below them; ``code`` sends unsolicited codes."""

    def __init__(self, profile: Profile, radio: Radio, pool: Pool, code: Callable[[str], None]) -> None:
        self._profile = profile
        self._radio = radio
        self._pool = pool
        self._code = code
        self._own_context = profile.sockets == "ublox"
        """Whether ``+UPSDA`` opens a separate context; SARA-R4 uses the context of ``+CGACT``."""
        self._context = False
        self._apn = ""
        self._hex = False
        self._last_error = 0
        pool.numbers = range(_SOCKETS)
        pool.on_data = self._came
        pool.on_end = self._ended
        pool.on_accept = self._accepted

    # -- life --------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Reset the settings that a restart resets."""
        self._context = False
        self._hex = False

    def lost(self) -> None:
        """Lose the packet context, because the network ended it or registration was lost."""
        if self._own_context:
            if self._context:
                self._context = False
                self._code("+UUPSDD: 0")
        elif self._pool.all():
            self._code("+CGEV: NW PDN DEACT 1")
        self._drop_all()

    def _drop_all(self) -> None:
        for each in self._pool.drop():
            if each.server is None:
                self._code(f"+UUSOCL: {each.number}")

    @property
    def _up(self) -> bool:
        """Whether there is a packet context."""
        return self._context if self._own_context else bool(self._radio.active)

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handler of each command."""
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
            table |= {"+UPSD": self._profile_of, "+UPSDA": self._activate, "+UPSND": self._context_status}
        return table

    # -- packet context ----------------------------------------------------------------------------------

    def _profile_of(self, call: Call) -> Reply:
        if call.command.number(1) == 1:
            self._apn = call.command.text_at(2)
        return OK

    async def _activate(self, call: Call) -> Reply:
        if call.command.number(0) != 0:
            raise cme(4)
        action = call.command.number(1)
        await asyncio.sleep(0.05)
        if action == 3:
            if not (self._radio.registered and self._radio.attached) or self._pool.faults.refuses(self._apn):
                raise cme(3)
            self._context = True
            return Reply(then=lambda: self._code(f'+UUPSDA: 0,"{ADDRESS}"'))
        if action == 4:
            if not self._context:
                raise cme(3)
            self._context = False
            self._drop_all()
        return OK

    def _context_status(self, call: Call) -> Reply:
        tag = call.command.number(1, 8)
        answers = {0: f'"{ADDRESS if self._context else "0.0.0.0"}"', 8: int(self._context)}  # noqa: S104
        if tag not in answers:
            raise cme(4)
        return told(f"+UPSND: 0,{tag},{answers[tag]}")

    # -- sockets -----------------------------------------------------------------------------------------

    def _get(self, call: Call, kind: str = "") -> Socket:
        found = self._pool.get(call.command.number(0))
        if found is None or kind not in {"", found.kind}:
            raise cme(3)
        return found

    def _fail(self, found: Socket, error: int) -> Refused:
        """Keep the error for ``+USOCTL``, and return the command's refusal."""
        self._last_error = found.error = error
        return cme(3)

    async def _create(self, call: Call) -> Reply:
        kind, port = _KINDS.get(call.command.number(0)), call.command.number(1, 0)
        if kind is None:
            raise cme(4)
        number = self._pool.free()
        if not self._up or number is None:
            raise cme(3)
        made = self._pool.add(Socket(number, kind, port))
        if kind == "UDP":
            try:
                await self._pool.bind(made, port)
            except Unreachable:
                self._pool.close(made)
                raise cme(3) from None
        return told(f"+USOCR: {number}")

    async def _connect(self, call: Call) -> Reply:
        found = self._get(call)
        host, port = call.command.text_at(1), call.command.number(2)
        if found.kind == "UDP":
            found.remote = host, port
            return OK
        if found.stream is not None or not self._up:
            raise cme(3)
        later = asyncio.get_running_loop().call_soon  # after the answer
        try:
            await self._pool.connect(found, host, port)
        except Unreachable:
            if self._pool.holds(found):
                later(self._code, f"+UUSOCL: {found.number}")
            self._pool.close(found)
            raise self._fail(found, _REFUSED) from None
        later(self._pool.report, found)
        return OK

    def _came(self, found: Socket) -> None:
        """Send a code for unread data, once until it is read."""
        if not found.notified:
            found.notified = True
            form = "+UUSORF" if found.kind == "UDP" and not self._own_context else "+UUSORD"
            self._code(f"{form}: {found.number},{found.unread}")

    def _ended(self, found: Socket) -> None:
        """Send a code for the peer's close, once all its data was read."""
        if not found.unread:
            self._pool.close(found)
            self._code(f"+UUSOCL: {found.number}")

    async def _write(self, call: Call) -> Reply:
        found = self._get(call)
        data = await self._given(call, 2, call.command.number(1))
        try:
            data = await self._pool.queue(data, partly=True)
            if found.udp is not None and found.remote is not None:
                self._pool.send(found, data, self._pool.places.lead(*found.remote))
            elif found.stream is not None:
                self._pool.send(found, data)
            else:
                raise cme(3)
        except QueueFull:
            raise self._fail(found, _FULL) from None
        except Unreachable:
            raise self._fail(found, _BROKEN) from None
        return told(f"+USOWR: {found.number},{len(data)}")

    async def _send_to(self, call: Call) -> Reply:
        found = self._get(call, "UDP")
        host, port, count = call.command.text_at(1), call.command.number(2), call.command.number(3)
        data = await self._given(call, 4, count)
        try:
            self._pool.send(found, data, self._pool.places.lead(host, port))
        except Unreachable:
            raise cme(3) from None
        return told(f"+USOST: {found.number},{count}")

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
        found = self._get(call)
        count = call.command.number(1)
        if not count:
            return told(f"+USORD: {found.number},{found.unread}")
        data, _ = found.take(count if found.udp is not None else min(count, _MOST_TEXT))
        return self._shown(f"+USORD: {found.number},{len(data)}", data, found)

    def _read_from(self, call: Call) -> Reply:
        found = self._get(call, "UDP")
        count = call.command.number(1)
        if not count or found.udp is None:
            return told(f"+USORF: {found.number},{found.unread}")
        if not found.udp.unread:
            return told(f'+USORF: {found.number},"",0,0,""')
        data, (host, port) = found.take(count)
        return self._shown(f'+USORF: {found.number},"{host}",{port},{len(data)}', data, found)

    def _shown(self, head: str, data: bytes, found: Socket) -> Reply:
        """Return the answer of a read; a code for the remaining unread data follows it."""
        body = data.hex().upper().encode() if self._hex else data
        return Reply((head.encode() + b',"' + body + b'"',), then=lambda: self._was_read(found))

    def _was_read(self, found: Socket) -> None:
        found.notified = False
        self._pool.report(found)

    def _close(self, call: Call) -> Reply:
        self._pool.close(self._get(call))
        return OK

    async def _listen(self, call: Call) -> Reply:
        found = self._get(call, "TCP")
        port = call.command.number(1)
        if found.stream is not None or found.server is not None or not 0 < port < 65536:
            raise cme(3)
        try:
            await self._pool.listen(found, port)
        except Unreachable:
            raise self._fail(found, _IN_USE) from None
        return OK

    def _accepted(self, made: Socket) -> None:
        host, port = made.remote or ("", 0)
        self._code(f'+UUSOLI: {made.number},"{host}",{port},{made.listener},"{ADDRESS}",{made.local_port}')

    def _control(self, call: Call) -> Reply:
        found = self._get(call)
        what = call.command.number(1)
        answers = {
            0: next(number for number, kind in _KINDS.items() if kind == found.kind),
            1: found.error,
            2: found.stream.sent if found.stream is not None else 0,
            3: found.unread,
            10: 0 if found.udp is not None else _STATES[found.state],
            11: 0,
        }
        if what not in answers:
            raise cme(4)
        return told(f"+USOCTL: {found.number},{what},{answers[what]}")

    def _configure(self, call: Call) -> Reply:
        if call.command.number(0) != 1:
            return OK
        if len(call.command.args) == 1:
            return told(f"+UDCONF: 1,{int(self._hex)}")
        self._hex = bool(call.command.number(1))
        return OK

    async def _resolve(self, call: Call) -> Reply:
        await asyncio.sleep(0.02)
        if not self._up:
            raise cme(3)
        try:
            return told(f'+UDNSRN: "{self._pool.places.resolve(call.command.text_at(1))}"')
        except Unreachable:
            raise cme(3) from None
