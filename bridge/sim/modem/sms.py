"""Short messages in PDU mode: the store, sending and receiving [3GPP TS 27.005, section 3]."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bridge.sim.modem import air
from bridge.sim.modem.active import ActiveFaults
from bridge.sim.modem.pdu import tpdu
from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.line import Kind
from bridge.sim.modem.port.results import OK, Reply, cms, told
from bridge.sim.modem.profiles import Profile
from bridge.sim.modem.radio import Radio
from bridge.sim.modem.sim import Sim

_UNREAD, _READ, _ALL = 0, 1, 4
_DELETES: Final = {1: {1}, 2: {1, 3}, 3: {1, 2, 3}, 4: {0, 1, 2, 3}}
"""The states of messages that ``AT+CMGD=i,flag`` deletes, by flag."""

_RETRY: Final = 0.05
"""Seconds until the network tries again once the store has room; minutes in the field."""

_REPORT_AFTER: Final = 0.2


class Stored(NamedTuple):
    """One message in the store."""

    state: int
    pdu: bytes

    @property
    def size(self) -> int:
        """Number of octets without the service centre's address."""
        return len(self.pdu) - 1 - self.pdu[0]


class SmsStore:
    """A store of ``size`` messages; ``code`` sends unsolicited codes, ``record`` logs sent messages.

    Sending takes ``send_time`` seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        profile: Profile,
        sim: Sim,
        radio: Radio,
        faults: ActiveFaults,
        *,
        size: int,
        send_time: float,
        code: Callable[[str], None],
        record: Callable[[dict[str, Any]], None],
    ) -> None:
        self.size = size
        self.sent = 0
        self.received = 0
        self.refuse: deque[int] = deque()
        """``+CMS ERROR`` codes for the next sends; 0 lets one through."""
        self.report_status = 0
        """TP-Status of reports: 0 received, 0x41 and others failed [3GPP TS 23.040, 9.2.3.15]."""
        self._send_time = send_time
        self._loop = loop
        self._profile = profile
        self._sim = sim
        self._radio = radio
        self._faults = faults
        self._code = code
        self._record = record
        self._stores: dict[str, dict[int, Stored]] = {"ME": {}, "SM": {}}
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._routes = [0, 0, 0, 0]
        self._memory = self._receiving = "ME"
        self._reference = 0
        self._said_full = False
        self._retry: asyncio.TimerHandle | None = None

    def reset(self) -> None:
        """Forget the settings; the stored messages stay."""
        self._routes = [0, 0, 0, 0]
        self._memory = self._receiving = "ME"

    @property
    def _stored(self) -> dict[int, Stored]:
        """The store for reading, chosen by ``AT+CPMS``."""
        return self._stores[self._memory]

    @property
    def stored(self) -> int:
        """Number of messages in all stores."""
        return sum(map(len, self._stores.values()))

    @property
    def waiting(self) -> int:
        """Number of messages that the network still holds."""
        return len(self._waiting)

    # -- receiving ---------------------------------------------------------------------------------------

    def arrive(self, pdu: bytes, *, report: bool = False) -> None:
        """Take a PDU with the service centre's address; the network keeps it while the store is full."""
        self._waiting.append((pdu, report))
        self.deliver()

    def deliver(self) -> None:
        """Take the messages that the network holds, while registered and as far as there is room."""
        while self._waiting and self._radio.registered and self._take(*self._waiting[0]):
            self._waiting.popleft()
            self.received += 1

    def _take(self, pdu: bytes, report: bool) -> bool:
        size = len(pdu) - 1 - pdu[0]
        route = self._routes[3 if report else 1]
        if report and route == 1:
            self._code(f"+CDS: {size}\r\n{pdu.hex().upper()}")
            return True
        if not report and route in {2, 3}:
            self._code(f"+CMT: ,{size}\r\n{pdu.hex().upper()}")
            return True
        if report and not route:
            return True  # no status report was requested
        store = self._stores[self._receiving]
        if len(store) >= self.size:
            if self._profile.store_full and not self._said_full:
                self._said_full = True
                self._code(self._profile.store_full)
            return False
        index = next(i for i in range(1, self.size + 1) if i not in store)
        store[index] = Stored(_UNREAD, pdu)
        if route:
            self._code(f'{"+CDSI" if report else "+CMTI"}: "{self._receiving}",{index}')
        return True

    # -- commands ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handler of each command."""
        needing: dict[str, Handler] = {
            "+CMGL": self._list,
            "+CMGR": self._read,
            "+CMGD": self._delete,
            "+CMGS": self._send,
            "+CPMS": self._memories,
        }
        guarded = {name: self._with_card(handler) for name, handler in needing.items()}
        return guarded | {
            "+CMGF": self._format,
            "+CNMI": self._routing,
            "+CSMS": lambda call: told(f"+CSMS: {'1,' if call.command.kind is Kind.READ else ''}1,1,1"),
            "+CNMA": lambda _: OK,
            "+CSCA": lambda call: told('+CSCA: "+12063130004",145') if call.command.kind is Kind.READ else OK,
            "+CSMP": lambda _: OK,
        }

    def _with_card(self, handler: Handler) -> Handler:
        def guarded(call: Call) -> Any:
            if (error := self._sim.cms_error()) is not None:
                raise cms(error)
            return handler(call)

        return guarded

    def _memories(self, call: Call) -> Reply:
        if call.command.kind is Kind.TEST:
            return told('+CPMS: ("ME","SM"),("ME","SM"),("ME","SM")')
        if call.command.kind is Kind.SET:
            if not set(call.command.args) <= {*self._stores, ""}:
                raise cms(302)
            self._memory = call.command.text_at(0) or self._memory
            self._receiving = call.command.text_at(2) or self._receiving
        # Read, written and received, in this order [3GPP TS 27.005, 3.2.2].
        names = (self._memory, self._memory, self._receiving)
        used = {name: f"{len(store)},{self.size}" for name, store in self._stores.items()}
        if call.command.kind is Kind.SET:
            return told("+CPMS: " + ",".join(used[name] for name in names))
        return told("+CPMS: " + ",".join(f'"{name}",{used[name]}' for name in names))

    def _format(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told("+CMGF: 0")
        if call.command.kind is Kind.TEST:
            return told("+CMGF: (0)")
        if call.command.number(0):
            raise cms(303)
        return OK

    def _routing(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            mode, mt, bm, ds = self._routes
            return told(f"+CNMI: {mode},{mt},{bm},{ds},0")
        if call.command.kind is Kind.TEST:
            return told("+CNMI: (0-2),(0-3),(0-3),(0-2),(0,1)")
        values = [call.command.number(i, 0) for i in range(4)]
        if any(value > top for value, top in zip(values, (3, 3, 3, 2), strict=True)):
            raise cms(302)
        self._routes = values
        return OK

    def _list(self, call: Call) -> Reply:
        if call.command.kind is Kind.TEST:
            return told("+CMGL: (0-4)")
        wanted = call.command.number(0, 0) if call.command.kind is Kind.SET else 0
        rows = []
        for index, (state, pdu) in sorted(self._stored.items()):
            if wanted in {_ALL, state}:
                rows.append(f"+CMGL: {index},{state},,{self._stored[index].size}\r\n{pdu.hex().upper()}")
                self._stored[index] = Stored(_READ if state == _UNREAD else state, pdu)
        return told("\r\n".join(rows)) if rows else OK

    def _read(self, call: Call) -> Reply:
        index = call.command.number(0)
        stored = self._stored.get(index)
        if stored is None:
            raise cms(321)
        self._stored[index] = Stored(_READ if stored.state == _UNREAD else stored.state, stored.pdu)
        return told(f"+CMGR: {stored.state},,{stored.size}\r\n{stored.pdu.hex().upper()}")

    def _delete(self, call: Call) -> Reply:
        if call.command.kind is Kind.TEST:
            return told(f"+CMGD: ({','.join(map(str, sorted(self._stored)))}),(0-4)")
        index, flag = call.command.number(0), call.command.number(1, 0)
        if flag:
            if flag not in _DELETES:
                raise cms(302)
            doomed = [at for at, each in self._stored.items() if each.state in _DELETES[flag]]
        elif 0 < index <= self.size:
            doomed = [index]  # deleting an empty index is no error
        else:
            raise cms(321)
        for at in doomed:
            self._stored.pop(at, None)
        self._said_full = False
        if self._waiting and self._retry is None:
            self._retry = self._loop.call_later(_RETRY, self._again)
        return OK

    def _again(self) -> None:
        self._retry = None
        self.deliver()

    async def _send(self, call: Call) -> Reply:
        wanted = call.command.number(0)
        if self._faults.hits("sms-early-ok"):
            return OK
        typed = await call.port.prompt_text()
        if typed is None or self._faults.hits("sms-bare-ok"):
            return OK
        try:
            pdu = bytes.fromhex(typed.decode("ascii").strip())
            submit = tpdu.read_submit(pdu)
        except (ValueError, tpdu.BadPdu):
            raise cms(304) from None
        if submit.length != wanted:
            raise cms(304)
        if not self._radio.registered:
            raise cms(331)
        if self._faults.hits("sms-foreign"):
            call.port.line("+CME ERROR: 258")
        await asyncio.sleep(self._send_time)
        if self.refuse and (error := self.refuse.popleft()):
            raise cms(error)
        return self._sent(pdu, submit)

    def _sent(self, pdu: bytes, submit: tpdu.Submit) -> Reply:
        reference = self._reference
        self._reference = (reference + 1) % 256
        self.sent += 1
        self._record(_described(pdu, submit, reference))
        if submit.report:
            self._loop.call_later(_REPORT_AFTER, self._report, reference, submit.to, datetime.now(UTC))
        return told(f"+CMGS: {reference}")

    def _report(self, reference: int, to: str, sent: datetime) -> None:
        pdu = tpdu.status_report(reference, to, sent, datetime.now(UTC), self.report_status)
        self.arrive(pdu, report=True)


def _described(pdu: bytes, submit: tpdu.Submit, reference: int) -> dict[str, Any]:
    part = air.concatenation(submit.udh)
    return {
        "kind": "sms",
        "pdu": pdu.hex().upper(),
        "to": submit.to,
        "text": submit.text,
        "data": submit.data.hex().upper(),
        "alphabet": tpdu.alphabet_of(submit.dcs),
        "udh": submit.udh.hex().upper(),
        "part": None if part is None else part._asdict(),
        "dcs": submit.dcs,
        "pid": submit.pid,
        "validity": submit.validity,
        "report": submit.report,
        "reference": reference,
    }
