"""Quotes: what a message would cost alone, if nothing is lost on the way. Nothing is sent."""

from collections.abc import Callable
from typing import NamedTuple

from bridge.core.budget import Prices
from bridge.core.exchange import Job
from bridge.core.messages import Channel, Message, Queued, Quote, Result, State, Traffic
from bridge.errors import InvalidCommand
from bridge.flow.message.codecs import Codec, with_time
from bridge.flow.message.ids import id_source
from bridge.flow.message.results import Results
from bridge.protocol.api import commands
from bridge.protocol.sms.segments import cut
from bridge.protocol.tcpinfo import IPV4, SEGMENT, UDP, estimate

_ANSWERS = {Channel.CLOUD: len("[0,0]"), Channel.SMS: len("00")}
"""Bytes of the cloud's answer [Hologram documentation, Embedded TCP API]."""


_SOME_TIME = 2_000_000_000
"""Unix seconds of as many digits as those of any time until 2286."""


class Route(NamedTuple):
    """How packets go to a host, as far as it costs."""

    timestamps: bool = False
    """Whether TCP timestamps are on."""
    segment: int = SEGMENT
    """Payload bytes of a full segment."""


class Ways(NamedTuple):
    """What a quote asks about the way of a message; each is called in the event loop's thread."""

    codec: Callable[[Channel], Codec | None]
    """Returns the codec of a channel; None while the credentials for it are not known."""
    own_sockets: Callable[[Channel], bool] = lambda _: False
    """Whether the modem's own sockets carry a channel now."""
    route: Callable[[str, int], Route] = lambda _host, _port: Route()
    """Returns the route to a host and port."""


class Quotes:
    """Tells what a message would cost; lives in the event loop's thread."""

    def __init__(
        self,
        results: Results,
        message_of: Callable[[commands.Send | commands.Sms], Message],
        ways: Ways,
        prices: Callable[[], Prices],
    ) -> None:
        """``message_of`` reads a command as the intake does; it raises `InvalidCommand`."""
        self._results = results
        self._message_of = message_of
        self._ways = ways
        self._prices = prices
        self._new_id = id_source()

    def answer(self, quote: commands.Quote) -> Result:
        """Return the result of ``quote``; raises `InvalidCommand` for a message that cannot be sent."""
        message = self._message_of(quote.command)
        lane, is_sms = message.lane, message.lane.endpoint.channel is Channel.SMS
        segments = len(cut(message.payload.decode()).parts) if is_sms else 0
        traffic = Traffic() if lane.endpoint.over_air else self._traffic(message)
        name = quote.options.id or self._new_id()
        result = self._results.of_command(name, Channel.QUOTE, State.DONE, "nothing was sent")
        price = self._prices().of(traffic.up + traffic.down, segments)
        return result._replace(topics=lane.topics, to=lane.to, traffic=traffic, quote=Quote(segments, price))

    def _traffic(self, message: Message) -> Traffic:
        endpoint = message.lane.endpoint
        codec = self._ways.codec(endpoint.channel)
        if codec is None:
            raise InvalidCommand("credentials", None, "the modem has not told them yet")
        job = codec.encode(with_time(_as_queued(message)))
        assert isinstance(job, Job)  # SMS over the air take no way that costs bytes
        size, expected = len(job.request), (endpoint.expect or "").encode()
        answer = _ANSWERS.get(endpoint.channel, len(expected))
        if endpoint.channel is Channel.UDP:
            return Traffic(IPV4 + UDP + size, 0)
        if self._ways.own_sockets(endpoint.channel):
            return _over_sockets(job.host, size, answer)
        route = self._ways.route(job.host, job.port)
        return estimate(
            size, answer, timestamps=route.timestamps, segment=route.segment, until_close=job.until_close
        )


def _over_sockets(host: str, size: int, answer: int) -> Traffic:
    # Without a modem it is never needed, and loading it takes time at a start.
    from bridge.protocol.at.sockets.traffic import Meter

    meter = Meter()
    meter.ask(host)
    meter.stand()
    meter.write(size)
    if answer:
        meter.read(answer)
    return meter.closed()


def _as_queued(message: Message) -> Queued:
    return Queued(
        seq=0,
        id=message.id,
        lane_id=0,
        lane=message.lane,
        payload=message.payload,
        idempotent=False,
        queued_at=0.0,
        attempts=0,
        max_attempts=None,
        traffic=Traffic(),
        reply=None,
        at=_SOME_TIME if message.at is None else message.at,
        stamp=message.stamp,
    )
