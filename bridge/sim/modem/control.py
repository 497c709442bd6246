"""The control socket, which takes the orders of `bridge.sim.modem.orders`."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bridge.errors import OperationError
from bridge.sim.modem import air
from bridge.sim.modem.device import SimModem
from bridge.sim.modem.faults import NAMES, Fault
from bridge.sim.modem.orders import Order
from bridge.sim.modem.pdu.tpdu import BadPdu
from bridge.sim.modem.sim import STATES


def _signal(modem: SimModem, order: Order) -> None:
    rssi = order.get("rssi")
    if rssi is not None and not (isinstance(rssi, int) and (0 <= rssi <= 31 or rssi == 99)):
        raise ValueError("rssi: 0 to 31, or 99")
    modem.radio.rssi = rssi
    modem.radio.ber = int(order.get("ber", 99))


def _registration(modem: SimModem, order: Order) -> None:
    stat = int(order["stat"])
    if not 0 <= stat <= 5:
        raise ValueError("stat: 0 to 5")
    modem.radio.order(stat, order.get("seconds"))


def _sim(modem: SimModem, order: Order) -> None:
    if order["state"] not in STATES:
        raise ValueError(f"state: one of {', '.join(STATES)}")
    modem.sim.order(order["state"], float(order.get("seconds", 0)))


def _fault(modem: SimModem, order: Order) -> None:
    if order["name"] not in NAMES:
        raise ValueError(f"name: one of {', '.join(NAMES)}")
    number = order.get("number", order.get("seconds"))
    modem.fault(Fault(order["name"], None if number is None else float(number), order.get("link", "")))


def _parts(order: Order) -> list[bytes]:
    """Return the PDUs of an incoming SMS in the ordered sequence."""
    at = datetime.fromisoformat(order["at"]) if "at" in order else datetime.now(UTC)
    reference = int(order.get("reference", random.randrange(256)))  # noqa: S311  # no secret
    made = air.parts(
        str(order["from"]), str(order["text"]), at, reference=reference, wide=bool(order.get("wide"))
    )
    wanted = [int(each) for each in order.get("order", range(1, len(made) + 1))]
    if order.get("shuffle"):
        random.shuffle(wanted)
    return [made[each - 1] for each in wanted]


def _sms(modem: SimModem, order: Order) -> Order:
    pdus = [bytes.fromhex(order["pdu"])] if "pdu" in order else _parts(order)
    for pdu in pdus:
        if not pdu or len(pdu) < 2 + pdu[0]:
            raise ValueError("pdu: the service centre's address and a TPDU")
        modem.sms.arrive(pdu)
    return {"parts": len(pdus)}


def _operator(modem: SimModem, order: Order) -> None:
    name = str(order["name"])
    modem.radio.operator = (name, name[:8], modem.radio.operator[2])


def _reports(modem: SimModem, order: Order) -> None:
    modem.sms.report_status = int(order["status"])


_ORDERS: Final[dict[str, Callable[[SimModem, Order], Order | None]]] = {
    "state": lambda modem, _: modem.state(),
    "signal": _signal,
    "registration": _registration,
    "operator": _operator,
    "sim": _sim,
    "fault": _fault,
    "clear": lambda modem, _: modem.clear(),
    "sms": _sms,
    "reports": _reports,
    "sms_errors": lambda modem, order: modem.sms.refuse.extend(map(int, order["codes"])),
    "carrier": lambda modem, order: modem.carrier(up=bool(order["up"])),
    "pdp": lambda modem, _: modem.radio.lose_context(),
    "vanish": lambda modem, order: modem.vanish(order.get("seconds"), order.get("link", "")),
    "reset": lambda modem, order: modem.restart(order.get("seconds")),
    "power": lambda modem, order: modem.power(bool(order["on"])),
    "code": lambda modem, order: modem.code(str(order["line"])),
    "noise": lambda modem, order: modem.noise(bytes.fromhex(order["hex"])),
}


def obey(modem: SimModem, line: bytes) -> bytes:
    """Carry out one order; return the answer, a line of JSON with ``ok`` in it."""
    try:
        order = json.loads(line)
        act = _ORDERS.get(str(order.get("do"))) if isinstance(order, dict) else None
        if act is None:
            raise ValueError(f"do: one of {', '.join(_ORDERS)}")
        answer = {"ok": True, **(act(modem, order) or {})}
    except KeyError as missing:
        answer = {"ok": False, "error": f"{missing.args[0]}: missing"}
    except (ValueError, TypeError, IndexError, BadPdu) as error:
        answer = {"ok": False, "error": str(error)}
    return json.dumps(answer).encode() + b"\n"


@contextlib.asynccontextmanager
async def serve(modem: SimModem, path: Path | None) -> AsyncIterator[None]:
    """Take orders at ``path`` while the block runs.

    Raises:
        OperationError: the socket cannot be created.

    """
    if path is None:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.LimitOverrunError):
            while line := await reader.readline():
                writer.write(obey(modem, line))
                await writer.drain()

    try:
        if path.is_socket():
            path.unlink()
        server = await asyncio.start_unix_server(answer, path, limit=1 << 20)
    except OSError as error:
        raise OperationError(f"--control: {path}: {error.strerror or error}") from None
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            path.unlink()
