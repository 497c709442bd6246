"""The ``modem`` commands: single queries by a person, in the daemon and without it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from bridge.adapters.modem.modem import Modem
from bridge.adapters.modem.sms import ModemInbox, SmsTransport
from bridge.core.exchange import Outcome
from bridge.core.modem import Registration
from bridge.core.phone import E164, E164_ALLOWED
from bridge.core.sms import SmsJob
from bridge.errors import AtRefused, BadPdu, InvalidCommand, ModemError, OperationError
from bridge.protocol.api.reports import timestamp
from bridge.protocol.sms.received import Deliver, StatusReport, decode
from bridge.protocol.sms.segments import check_text
from bridge.protocol.sms.status import describe
from bridge.protocol.sms.text import join_with_gaps

MAX_SEGMENTS = 9
"""Number of parts that an SMS sent from the command line may have."""

PART_TIMEOUT = 150.0
"""Seconds that the network may take for a part, as in the bridge's own sending."""

_HARMFUL = re.compile(r"AT(D|O|A(?!T)|V0|Q1|&F|Z|\+CGDATA|\+CMUX)", re.IGNORECASE)
"""Commands that would leave the port in another mode than its owner's."""

Request = dict[str, Any]


async def answer(modem: Modem, request: Request) -> dict[str, Any]:
    """Return ``{"modem": …}`` for ``request``, whose ``what`` names the query; raises `BridgeError`.

    ``at`` takes ``text``, and ``timeout`` in seconds. ``sms`` takes ``to`` and ``text``; without them it
    lists the stored SMS. ``location`` takes ``timeout`` in seconds.
    """
    what = request.get("what")
    query = QUERIES.get(str(what))
    if query is None:
        raise OperationError(f"what: {what!r} is not allowed; one of {', '.join(QUERIES)}")
    return {"modem": await query(modem, request)}


async def _info(modem: Modem, _request: Request) -> dict[str, Any]:
    await modem.poll()
    facts = modem.facts
    return {
        "interface": modem.profile.interface,
        "kind": modem.profile.label,
        "device": modem.path,
        **facts.identity._asdict(),
        "sim": facts.sim.value,
        "sim_problem": modem.sim_problem,
        **_network(modem),
        "signal": facts.signal._asdict(),
    }


def _network(modem: Modem) -> dict[str, Any]:
    facts = modem.facts
    known = facts.registration is not Registration.UNKNOWN
    return {
        "registration": facts.registration.value if known else None,
        "operator": facts.operator,
        "technology": facts.technology,
    }


async def _signal(modem: Modem, _request: Request) -> dict[str, Any]:
    await modem.poll()
    return modem.facts.signal._asdict()


async def _operator(modem: Modem, _request: Request) -> dict[str, Any]:
    await modem.poll()
    return _network(modem)


async def _at(modem: Modem, request: Request) -> dict[str, Any]:
    text = str(request.get("text", "")).strip()
    if not text[:2].upper() == "AT":
        raise ModemError(f"{text!r} is no AT command; it begins with AT, as in AT+CSQ")
    if _HARMFUL.match(text):
        raise ModemError(f"{text} would take the port away from the bridge; it is not passed on")
    try:
        got = await modem.at(text, _seconds(request, 10.0))
    except AtRefused as exc:
        return {"lines": [], "final": exc.final, "refused": True}
    return {"lines": list(got.lines), "final": got.final, "refused": False}


def _seconds(request: Request, default: float) -> float:
    value = request.get("timeout")
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 600:
        raise OperationError(f"timeout: {value!r} is not allowed; seconds up to 600")
    return float(value)


async def _reset(modem: Modem, _request: Request) -> dict[str, Any]:
    await modem.reset()
    return {"description": "the modem restarts; it is back in a minute or so"}


async def _location(modem: Modem, request: Request) -> dict[str, Any]:
    return await modem.location(_seconds(request, 120.0))


# -- SMS -------------------------------------------------------------------------------------------------


async def _sms(modem: Modem, request: Request) -> dict[str, Any]:
    if request.get("to") is None:
        inbox = ModemInbox(lambda: modem.port)
        return {"messages": _messages([pdu for _slot, pdu in await inbox.list()])}
    return await _send(modem, str(request["to"]), str(request.get("text") or ""))


async def _send(modem: Modem, to: str, text: str) -> dict[str, Any]:
    if not E164.fullmatch(to):
        raise InvalidCommand("to", to, f"a number is {E164_ALLOWED}")
    parts = check_text(text, MAX_SEGMENTS)
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    job = SmsJob(to, text, parts, PART_TIMEOUT)
    transport = SmsTransport(asyncio.get_running_loop(), lambda: modem.port)
    transport.start(job, done.set_result)
    outcome = await done
    if outcome.written and not outcome.complete:
        raise ModemError(f"the text may have been sent, in whole or in part: {outcome.error}")
    if not outcome.complete:
        raise ModemError(f"the text was not sent: {outcome.error}")
    return {"to": to, "parts": parts, "description": f"sent to {to} in {parts} part{'s' * (parts > 1)}"}


def _messages(pdus: list[str]) -> list[dict[str, Any]]:
    """Join stored parts; an unreadable part is shown as such, and hides no other."""
    whole: list[dict[str, Any]] = []
    parted: dict[tuple[Any, ...], list[dict[int, Deliver]]] = {}
    for pdu in pdus:
        try:
            read = decode(pdu)
        except BadPdu as exc:
            whole.append({"from": None, "body": None, "note": f"cannot be read: {exc}"})
            continue
        if isinstance(read, StatusReport):
            note = f"a status report: {describe(read.status).text}"
            whole.append({"from": read.recipient, "body": None, "note": note})
        elif read.place is None:
            whole.append(_message({1: read}, 1))
        else:
            texts = parted.setdefault((read.sender, *read.place[:3]), [])
            # References repeat: a part whose place is taken belongs to another SMS.
            text = next((each for each in texts if read.place.number not in each), None)
            if text is None:
                texts.append(text := {})
            text[read.place.number] = read
    return whole + [_message(text, key[-1]) for key, texts in parted.items() for text in texts]


def _message(parts: dict[int, Deliver], total: int) -> dict[str, Any]:
    first = parts[min(parts)]
    body, notes = None, [f"{len(parts)} of {total} parts"] if len(parts) != total else []
    try:
        body = join_with_gaps({number: part.data for number, part in parts.items()}, total)
    except BadPdu as exc:
        notes.append(f"cannot be read: {exc}")
    return {
        "from": first.sender,
        "body": body,
        "sent_at": None if first.sent_at is None else timestamp(first.sent_at),
        "note": "; ".join(notes) or None,
    }


QUERIES: dict[str, Callable[[Modem, Request], Awaitable[dict[str, Any]]]] = {
    "info": _info,
    "signal": _signal,
    "operator": _operator,
    "sms": _sms,
    "at": _at,
    "reset": _reset,
    "location": _location,
}
"""The available queries."""
