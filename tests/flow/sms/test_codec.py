"""What the speaker of texts over the air asks of the modem, and what it makes of the modem's answer."""

import pytest

from bridge.core.exchange import Outcome
from bridge.core.messages import MODEM_SMS, Lane, Priority, Queued, Traffic
from bridge.core.retry import Kind
from bridge.core.sms import SmsJob
from bridge.errors import InvalidCommand
from bridge.flow.sms.codec import AirSmsCodec
from bridge.store.reserve import Reserve
from bridge.store.sms import SmsStore
from bridge.store.writer import Writer
from tests.doubles.time import AtOnce
from tests.store.box import Box

TO = "+15551234567"


@pytest.fixture
def texts(box: Box) -> SmsStore:
    """The tables of texts."""
    return SmsStore(box.database, box.clock)


@pytest.fixture
def codec(box: Box, texts: SmsStore) -> AirSmsCodec:
    """A codec that allows four parts, and a writer that commits at once."""
    writer = Writer(
        box.database,
        box.outbox,
        Reserve(box.path, 4096),
        AtOnce(box.clock),
    )
    return AirSmsCodec(lambda: 4, texts, writer, silence=30.0)


def queued(body: str) -> Queued:
    lane = Lane(MODEM_SMS, (TO,), Priority.NORMAL)
    return Queued(1, "m1", 1, lane, body.encode(), False, 0.0, 0, None, Traffic(), None)


def outcome(
    answer: str = "",
    error: str | None = None,
    *,
    connected: bool = True,
    written: bool = False,
    complete: bool = False,
) -> Outcome:
    return Outcome(connected, written, complete, answer.encode(), False, error, Traffic())


def test_a_job_is_the_recipient_the_text_and_the_patience(codec: AirSmsCodec) -> None:
    """Each part may take its time."""
    job = codec.encode(queued("a" * 400))
    assert job == SmsJob(TO, "a" * 400, 3, 30.0, id="m1")
    assert (job.limit, job.large) == (90.0, False)
    assert codec.at_most_once


def test_a_text_that_has_become_too_long_is_refused(codec: AirSmsCodec) -> None:
    """The limit of now counts, as it may have changed while the text waited."""
    with pytest.raises(InvalidCommand, match="would take 5 parts"):
        codec.encode(queued("a" * 700))


@pytest.mark.parametrize(
    ("ended", "kind", "code", "text"),
    [
        (outcome("41", written=True, complete=True), Kind.ACCEPTED, None, "the network took it"),
        (outcome("41 ?", written=True, complete=True), Kind.ACCEPTED, None, "the network took its 2 parts"),
        (outcome(error="no modem is ready", connected=False), Kind.UNREACHED, None, "no modem is ready"),
        (outcome("+CMS ERROR: 28", "28!"), Kind.REFUSED, 28, "28!"),
        (outcome("+CMS ERROR: 42", "42!"), Kind.UNANSWERED, 42, "42!"),
        (outcome("+CMS ERROR: 331", "331!"), Kind.UNREACHED, 331, "331!"),
        (outcome("+CME ERROR: 10", "10!"), Kind.UNREACHED, None, "10!"),
        (outcome("", "the modem went away"), Kind.UNREACHED, None, "the modem went away"),
        (outcome("+CMS ERROR: 500", "500!", written=True), Kind.DOUBTFUL, 500, "500!"),
        (outcome("+CMS ERROR: 28", "1 of 2", written=True), Kind.DOUBTFUL, 28, "1 of 2"),
        (outcome("", "no answer", written=True), Kind.DOUBTFUL, None, "no answer"),
    ],
)
def test_an_outcome_is_read_by_whose_fault_it_was(
    codec: AirSmsCodec, ended: Outcome, kind: Kind, code: int | None, text: str
) -> None:
    """What may have gone out is in doubt; what has not may be tried again, unless it never can succeed."""
    reading = codec.decode(ended)
    assert (reading.kind, reading.code, reading.description) == (kind, code, text)


def test_references_are_remembered_for_the_status_report(
    box: Box, texts: SmsStore, codec: AirSmsCodec
) -> None:
    """A report that comes after a restart finds the message by the reference of any of its parts."""
    job = codec.encode(queued("a" * 200))
    codec.referenced(job, 41)
    codec.referenced(job, 42)
    box.reopen()
    with box:
        again = SmsStore(box.database, box.clock)
        assert again.reported(41, TO, final=True) == "m1"
        assert again.reported(42, TO, final=True) == "m1"
        assert again.reported(43, TO, final=True) is None
