"""Received texts, one by one: read from the modem's store, and deleted when they are handed over."""

import logging
from datetime import UTC, datetime

from bridge.adapters.texts import ModemInbox, Slot
from bridge.errors import BadPdu
from bridge.protocol.sms.received import Deliver, decode
from bridge.protocol.sms.text import join_with_gaps
from bridge.sdk.values import SMS

log = logging.getLogger("Modem")


async def pop(inbox: ModemInbox) -> SMS | None:
    """Take the oldest whole text out of ``inbox``; None where there is none. Raises `ModemError`."""
    found = await inbox.list()
    groups: dict[object, list[tuple[Slot, Deliver]]] = {}
    for slot, pdu in found:
        try:
            text = decode(pdu)
        except BadPdu as exc:
            log.warning("a text cannot be read, and stays in the modem: %s", exc)
            continue
        if isinstance(text, Deliver):
            key = (text.sender, text.place.reference, text.place.total) if text.place else slot
            groups.setdefault(key, []).append((slot, text))
    whole = [parts for parts in groups.values() if len(parts) >= _total(parts)]
    if not whole:
        return None
    oldest = min(whole, key=lambda parts: min(part.sent_at or 0.0 for _, part in parts))
    for slot, _ in oldest:
        await inbox.delete(slot)
    return _sms([part for _, part in oldest])


def _total(parts: list[tuple[Slot, Deliver]]) -> int:
    place = parts[0][1].place
    return place.total if place else 1


def _sms(parts: list[Deliver]) -> SMS:
    numbered = {part.place.number if part.place else 1: part.data for part in parts}
    sent = min((part.sent_at for part in parts if part.sent_at is not None), default=None)
    # As the SDK's: a time without a zone, in the clock that the service centre wrote, which is UTC here.
    when = datetime.fromtimestamp(sent or 0.0, UTC).replace(tzinfo=None)
    return SMS(parts[0].sender, when, join_with_gaps(numbered, len(numbered)))
