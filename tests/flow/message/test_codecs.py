"""Codecs: the request of each channel, and the meaning of each outcome."""

import pytest

from bridge.core.exchange import Outcome
from bridge.core.messages import CLOUD, CLOUD_SMS, Channel, Endpoint, Lane, Priority, Queued, Traffic
from bridge.core.retry import Kind
from bridge.errors import InvalidCommand
from bridge.flow.message.codecs import (
    MAX_DATAGRAM,
    CloudAccess,
    CloudCodec,
    CloudSmsCodec,
    DatagramCodec,
    DirectCodec,
)
from bridge.protocol.cloud import DeviceKey, Totp
from tests.doubles.heart import UNREACHED, answered, silent
from tests.doubles.time import Clock

ACCESS = CloudAccess("cloud", 9999, 5.0, DeviceKey("abcd1234"))
TOTP = ACCESS._replace(credentials=Totp("8944501234567890123", "234507095650999"))
SCADA = Endpoint(Channel.TCP, "scada", 5020)

cloud = CloudCodec(lambda: ACCESS, Clock())
sms = CloudSmsCodec(lambda: ACCESS)
direct = DirectCodec(lambda: 5.0)
datagram = DatagramCodec(lambda: 5.0)


def queued(payload: bytes = b"x", *names: str, endpoint: Endpoint = CLOUD) -> Queued:
    lane = Lane(endpoint, names, Priority.NORMAL)
    return Queued(1, "m1", 1, lane, payload, False, 0.0, 0, None, Traffic(), None)


# -- the cloud -------------------------------------------------------------------------------------------


def test_a_request_has_the_credentials_of_the_moment() -> None:
    """A corrected key delivers the messages that wait."""
    access = ACCESS
    codec = CloudCodec(lambda: access, Clock())
    assert codec.encode(queued(b"1", "a")).request == b'{"k":"abcd1234","d":"1","t":"a"}\n\n'
    access = access._replace(host="other", credentials=DeviceKey("efgh5678"))
    job = codec.encode(queued(b"1", "a"))
    assert (job.host, job.port, job.request) == ("other", 9999, b'{"k":"efgh5678","d":"1","t":"a"}\n\n')


def test_a_request_is_bounded_by_silence_and_by_its_size() -> None:
    """The limit is six silences, or a second for each kilobyte if that is longer."""
    small, large = cloud.encode(queued(b"1")), cloud.encode(queued(b"x" * 100_000))
    assert (small.silence, small.limit, small.large) == (5.0, 30.0, False)
    assert (large.silence, large.large) == (5.0, True)
    assert large.limit == len(large.request) / 1000


@pytest.mark.parametrize(
    ("received", "complete"), [(b"", False), (b"[0", False), (b"[0,0]", True), (b"?", True)]
)
def test_an_exchange_ends_with_the_answer(received: bytes, complete: bool) -> None:
    """It ends with bytes that cannot become an answer, too."""
    assert cloud.encode(queued()).complete(received) is complete


@pytest.mark.parametrize(
    ("outcome", "kind", "code"),
    [
        (answered(b"[0,0]"), Kind.ACCEPTED, 0),
        (answered(b"[3,0]"), Kind.HELD, 3),
        *((answered(b"[%d,0]" % code), Kind.REFUSED, code) for code in (2, 4, 5, 7, 8)),
        *((answered(b"[%d,0]" % code), Kind.UNANSWERED, code) for code in (1, 6, 99)),
        (answered(b"nonsense"), Kind.UNANSWERED, None),
        (answered(b""), Kind.UNANSWERED, None),
        (silent(), Kind.UNANSWERED, None),
        (UNREACHED, Kind.UNREACHED, None),
    ],
)
def test_what_an_answer_of_the_cloud_means(outcome: Outcome, kind: Kind, code: int | None) -> None:
    """Only a clear answer decides about the message."""
    reading = cloud.decode(outcome)
    assert (reading.kind, reading.code) == (kind, code)
    assert reading.description


def test_a_garbled_answer_is_not_shown() -> None:
    """A peer that echoes would put the key into the log."""
    assert "abcd1234" not in cloud.decode(answered(b'{"k":"abcd1234"}')).description


# -- SMS by the cloud ------------------------------------------------------------------------------------


def test_an_sms_has_its_own_request() -> None:
    """The recipient takes the place of the topics."""
    job = sms.encode(queued(b"hello", "+15551234567", endpoint=CLOUD_SMS))
    assert job.request == b"Sabcd1234+15551234567 hello\n\n"
    assert sms.at_most_once
    assert not cloud.at_most_once


def test_totp_cannot_send_sms() -> None:
    """It may have been queued under another configuration."""
    with pytest.raises(InvalidCommand, match="TOTP"):
        CloudSmsCodec(lambda: TOTP).encode(queued(b"hello", "+15551234567", endpoint=CLOUD_SMS))


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (answered(b"00"), Kind.ACCEPTED),
        (answered(b"30"), Kind.HELD),
        (answered(b"40"), Kind.REFUSED),
        (answered(b"10"), Kind.DOUBTFUL),
        (answered(b"60"), Kind.DOUBTFUL),
        (answered(b"?!"), Kind.DOUBTFUL),
        (silent(), Kind.DOUBTFUL),
        (silent(written=False), Kind.UNREACHED),
        (UNREACHED, Kind.UNREACHED),
    ],
)
def test_an_sms_in_doubt_is_final(outcome: Outcome, kind: Kind) -> None:
    """The doubt begins with the first byte."""
    assert sms.decode(outcome).kind is kind


# -- Direct IP -------------------------------------------------------------------------------------------


def test_direct_ip_sends_the_payload_as_it_is() -> None:
    """The peer's close is the receipt if no answer is expected."""
    job = direct.encode(queued(b"\0\xff", endpoint=SCADA))
    assert (job.host, job.port, job.request, job.until_close) == ("scada", 5020, b"\0\xff", True)
    assert not job.complete(b"anything")


def test_direct_ip_may_expect_an_answer() -> None:
    """The expected text may be anywhere in the answer."""
    job = direct.encode(queued(endpoint=SCADA._replace(expect="OK é")))
    assert not job.until_close
    assert [job.complete(each) for each in (b"OK", "it is OK é!".encode())] == [False, True]


@pytest.mark.parametrize(
    ("outcome", "kind", "answer"),
    [
        (answered(b"OK"), Kind.ACCEPTED, b"OK"),
        (answered(b"OK")._replace(complete=False), Kind.UNANSWERED, b"OK"),
        (silent(), Kind.UNANSWERED, b""),
        (UNREACHED, Kind.UNREACHED, None),
    ],
)
def test_what_a_peer_said_is_in_the_result(outcome: Outcome, kind: Kind, answer: bytes | None) -> None:
    """The result has the answer, expected or not."""
    reading = direct.decode(outcome)
    assert (reading.kind, reading.answer) == (kind, answer)


def test_a_datagram_is_the_payload_up_to_what_one_holds() -> None:
    """A larger datagram could never be sent."""
    udp = Endpoint(Channel.UDP, "scada", 5020)
    assert datagram.encode(queued(b"x" * MAX_DATAGRAM, endpoint=udp)).request == b"x" * MAX_DATAGRAM
    with pytest.raises(InvalidCommand, match="65507"):
        datagram.encode(queued(b"x" * (MAX_DATAGRAM + 1), endpoint=udp))


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (answered(b""), Kind.ACCEPTED),
        (silent(written=False), Kind.REFUSED),
        (UNREACHED, Kind.UNREACHED),
    ],
)
def test_a_datagram_that_was_sent_is_delivered(outcome: Outcome, kind: Kind) -> None:
    """UDP tells no more; one that the system does not take can never be sent."""
    assert datagram.decode(outcome).kind is kind
