"""Answers by SMS: one text at most, over the air, through the outbox and so within the budget.

A pause of sending does not hold them, so the desk hears of the pause that it asks for.
"""

import logging
from collections.abc import Callable

from bridge.core.messages import MODEM_ANSWERS, Priority
from bridge.core.phone import E164
from bridge.errors import InvalidCommand
from bridge.flow.message.intake import Intake
from bridge.protocol.api.commands import Options, Sms
from bridge.protocol.sms.alphabet import to_septets
from bridge.protocol.sms.segments import one_part
from bridge.store.journal import Journal

log = logging.getLogger("remote")

LIFETIME = 3600.0
"""Seconds for which an answer is worth sending."""


class SmsAnswers:
    """Queues answers; lives in the event loop's thread."""

    def __init__(self, journal: Journal, intake: Intake) -> None:
        self._writer = journal.writer
        self._intake = intake

    def send(self, to: str, line: str, within: Callable[[], None]) -> None:
        """Queue ``line`` as an SMS to ``to``, and run ``within`` in the same transaction.

        A sender that is no number, such as a name, gets none.
        """
        options = Options(priority=Priority.HIGH, lifetime=LIFETIME)
        try:
            if not E164.fullmatch(to):
                raise InvalidCommand("to", to, "an answer needs a number with +")
            message = self._intake.reader.message_of(Sms(to, one_text(line), "modem", options))
        except InvalidCommand as exc:
            log.warning("a command gets no answer by SMS: %s", exc)
            self._writer.write(within)
            return
        lane = message.lane._replace(endpoint=MODEM_ANSWERS)
        self._intake.store(message._replace(lane=lane), within)


def one_text(line: str) -> str:
    """Return ``line`` as it fits into one SMS: of the 7-bit alphabet, which leaves most room, and cut."""
    return one_part("".join("?" if to_septets(char) is None else char for char in line))
