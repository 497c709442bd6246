"""Codecs: one per channel, between a queued message and the bytes of its exchange.

A codec encodes the request at the time of sending, so that corrected credentials deliver the messages that
wait. It decodes the outcome into one of the kinds that `bridge.core.retry` decides about.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from bridge.core.exchange import AnyJob, Job, Outcome, sized_job
from bridge.core.messages import Now, Queued
from bridge.core.retry import Kind, Reading
from bridge.core.time_stamp import stamped
from bridge.errors import InvalidCommand
from bridge.protocol import cloud
from bridge.protocol import cloud_codes as codes


class CloudAccess(NamedTuple):
    """The cloud's address and the credentials for it. A reload replaces it whole."""

    host: str
    port: int
    timeout: float
    credentials: cloud.Credentials | None
    """None until the modem has read them from the SIM; nothing is sent to the cloud before."""


class Codec(Protocol):
    """Encodes the messages of one channel, and decodes the outcomes of their exchanges."""

    at_most_once: bool
    """A message must not be sent twice, so a durable mark precedes its first byte."""

    def encode(self, queued: Queued) -> AnyJob:
        """Return the job that sends ``queued``.

        Raises `InvalidCommand` for a message that can never be sent.
        """

    def decode(self, outcome: Outcome) -> Reading:
        """Return the meaning of an exchange's outcome."""


def with_time(queued: Queued) -> Queued:
    """Return ``queued`` as it is sent: with its time in the payload where its route stamps it."""
    if queued.stamp is None:
        return queued
    return queued._replace(payload=stamped(queued.payload, queued.stamp, queued.at))


class CloudCodec:
    """Encodes messages for the cloud's socket, in the JSON or the TOTP form."""

    at_most_once = False

    def __init__(self, access: Callable[[], CloudAccess], clock: Callable[[], Now]) -> None:
        self._access = access
        self._clock = clock

    def encode(self, queued: Queued) -> Job:
        """Return the exchange that sends ``queued``."""
        access = self._access()
        assert access.credentials is not None  # `Paths.ready` is False without them
        wall = self._clock().wall if isinstance(access.credentials, cloud.Totp) else 0.0
        request = cloud.encode(access.credentials, queued.lane.topics, queued.payload, wall)
        return cloud_job(access, request)

    def decode(self, outcome: Outcome) -> Reading:
        """Return the meaning of the cloud's answer, by its code."""
        if not outcome.connected:
            return Reading(Kind.UNREACHED, outcome.error or "no connection")
        return read_cloud(outcome)


class CloudSmsCodec:
    """Encodes SMS for the cloud. A doubt is final, because a second SMS costs and annoys."""

    at_most_once = True

    def __init__(self, access: Callable[[], CloudAccess]) -> None:
        self._access = access

    def encode(self, queued: Queued) -> Job:
        """Return the exchange that sends ``queued`` in the SMS form."""
        access = self._access()
        credentials = access.credentials
        if isinstance(credentials, cloud.Totp):
            raise InvalidCommand("via", "cloud", TOTP_CANNOT)
        assert credentials is not None  # `Paths.ready` is False without them
        request = cloud.encode_sms(credentials, queued.lane.names[0], queued.payload.decode())
        return cloud_job(access, request)

    def decode(self, outcome: Outcome) -> Reading:
        """Return the meaning of the cloud's answer; after a written byte an unclear answer is final."""
        if not outcome.written:
            return Reading(Kind.UNREACHED, outcome.error or "no connection")
        reading = read_cloud(outcome)
        return reading._replace(kind=Kind.DOUBTFUL) if reading.kind is Kind.UNANSWERED else reading


class DirectCodec:
    """Encodes Direct IP over TCP: the payload as it is.

    The receipt is the expected answer, or the peer's close.
    """

    at_most_once = False

    def __init__(self, timeout: Callable[[], float]) -> None:
        """``timeout`` returns the silence allowed in seconds."""
        self._timeout = timeout

    def encode(self, queued: Queued) -> Job:
        """Return the exchange with the host and port of the route."""
        endpoint, silence = queued.lane.endpoint, self._timeout()
        expected = None if endpoint.expect is None else endpoint.expect.encode()
        return sized_job(
            endpoint.host,
            endpoint.port,
            queued.payload,
            lambda got: expected is not None and expected in got,
            silence,
            until_close=expected is None,
        )

    def decode(self, outcome: Outcome) -> Reading:
        """Return the meaning of the peer's answer, which the result always contains."""
        if not outcome.connected:
            return Reading(Kind.UNREACHED, outcome.error or "no connection")
        if outcome.complete:
            return Reading(Kind.ACCEPTED, "the peer took it", answer=outcome.answer)
        text = (
            "the peer closed the connection without the expected answer, or before it had the whole message"
        )
        if outcome.error:
            text = (
                f"neither the expected answer came nor, without `expect`, the peer's close: {outcome.error}"
            )
        return Reading(Kind.UNANSWERED, text, answer=outcome.answer)


MAX_DATAGRAM = 65507
"""Payload bytes of a UDP datagram over IPv4 at most [RFC 768, RFC 791: 65535 less 28 of headers]."""


class DatagramCodec:
    """Encodes Direct IP over UDP: the payload is the datagram."""

    at_most_once = False

    def __init__(self, timeout: Callable[[], float]) -> None:
        """``timeout`` returns the seconds allowed for resolving the host's name."""
        self._timeout = timeout

    def encode(self, queued: Queued) -> Job:
        """Return the exchange that sends ``queued`` as one datagram."""
        size = len(queued.payload)
        if size > MAX_DATAGRAM:
            raise InvalidCommand(
                "payload", f"{size} bytes", f"a UDP datagram holds at most {MAX_DATAGRAM}; use channel tcp"
            )
        endpoint, silence = queued.lane.endpoint, self._timeout()
        return Job(
            host=endpoint.host,
            port=endpoint.port,
            request=queued.payload,
            complete=lambda _: True,
            silence=silence,
            limit=silence,
        )

    def decode(self, outcome: Outcome) -> Reading:
        """Return the meaning of the outcome.

        A datagram that was sent counts as delivered, as UDP tells no more.
        """
        if outcome.written:
            return Reading(Kind.ACCEPTED, "sent")
        if outcome.connected:  # connected: the datagram itself was refused, such as for its size
            return Reading(Kind.REFUSED, outcome.error or "it cannot be sent")
        return Reading(Kind.UNREACHED, outcome.error or "it could not be sent")


TOTP_CANNOT = "TOTP credentials cannot send SMS by the cloud; use a device key, or the modem"


def cloud_job(access: CloudAccess, request: bytes) -> Job:
    """Return the job that sends ``request`` to the cloud's socket."""
    return sized_job(access.host, access.port, request, _answered, access.timeout)


def _answered(received: bytes) -> bool:
    answer = cloud.read_answer(received)
    return answer.garbled or answer.code is not None


def read_cloud(outcome: Outcome) -> Reading:
    """Return the meaning of the cloud's answer, or of its absence."""
    answer = cloud.read_answer(outcome.answer)
    if answer.code is None:
        return Reading(Kind.UNANSWERED, _no_answer(outcome, garbled=answer.garbled))
    text = codes.describe(answer.code)
    if answer.code == codes.Code.OK:
        return Reading(Kind.ACCEPTED, text, answer.code)
    if answer.code == codes.Code.AUTHINVALID:
        return Reading(Kind.HELD, text, answer.code)
    if answer.code in codes.PERMANENT:
        return Reading(Kind.REFUSED, text, answer.code)
    return Reading(Kind.UNANSWERED, text, answer.code)


def _no_answer(outcome: Outcome, *, garbled: bool) -> str:
    if garbled:
        # The answer itself is not shown: a peer that echoes the request would put the key into every log.
        return f"the cloud's answer makes no sense ({len(outcome.answer)} bytes)"
    return outcome.error or "the cloud closed the connection without a clear answer"
