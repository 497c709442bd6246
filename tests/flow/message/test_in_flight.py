"""What may be in flight is written ahead in such a way that messages seldom wait for a commit."""

from bridge.core.exchange import sized_job
from bridge.core.messages import CLOUD, Lane, Priority, Queued, Traffic
from bridge.flow.message.in_flight import HEADROOM, InFlight
from bridge.protocol.tcpinfo import estimate

SIZE = 80


def queued(seq: int) -> Queued:
    """A message on a lane of its own."""
    lane = Lane(CLOUD, (f"t{seq}",), Priority.NORMAL)
    nothing = Traffic()
    return Queued(seq, f"m{seq}", seq, lane, b"1", False, 0.0, 0, None, nothing, None)


def start(flight: InFlight, seq: int, size: int = SIZE) -> None:
    flight.started(queued(seq), sized_job("cloud", 9999, b"x" * size, lambda _: True, 5.0))


def record(flight: InFlight, *seqs: int) -> None:
    for seq in seqs:
        flight.recorded(queued(seq))


def free(flight: InFlight, *seqs: int) -> None:
    for seq in seqs:
        flight.freed(queued(seq))


def test_as_many_as_there_were_go_without_a_commit_of_their_own() -> None:
    """While the results of some are recorded, the next ones are covered by what is written."""
    flight, written = InFlight(), Traffic()
    for seq in range(8):
        start(flight, seq)
    assert not flight.is_covered(written)
    written = flight.ahead(written)
    for turn in range(1, 50):
        ended = range(8 * turn - 8, 8 * turn - 4)
        record(flight, *ended)
        written = flight.ahead(written)
        free(flight, *ended)
        for seq in range(8 * turn, 8 * turn + 4):
            start(flight, seq)
        assert flight.is_covered(written)
        rest = range(8 * turn - 4, 8 * turn)
        record(flight, *rest)
        written = flight.ahead(written)
        free(flight, *rest)
        for seq in range(8 * turn + 4, 8 * turn + 8):
            start(flight, seq)
        assert flight.is_covered(written)


def test_with_nothing_in_flight_one_message_stays_written() -> None:
    """The result of the last one takes the rest back."""
    flight = InFlight()
    for seq in range(8):
        start(flight, seq)
    written = flight.ahead(Traffic())
    record(flight, *range(8))
    up, down = estimate(SIZE, 16)
    assert flight.ahead(written) == (2 * up, 2 * down)
    free(flight, *range(8))
    start(flight, 8)
    start(flight, 9)
    assert flight.ahead(Traffic()) == (4 * up, 4 * down)


def test_while_more_wait_as_many_stay_written() -> None:
    """Where all results of a round share one transaction, the next round needs none of its own."""
    flight, written = InFlight(), Traffic()
    for seq in range(8):
        start(flight, seq)
    written = flight.ahead(written)
    for turn in range(1, 50):
        ended = range(8 * turn - 8, 8 * turn)
        record(flight, *ended)
        written = flight.ahead(written, more=True)
        free(flight, *ended)
        for seq in range(8 * turn, 8 * turn + 8):
            start(flight, seq)
        assert flight.is_covered(written)
    record(flight, *range(8 * 49, 8 * 50))
    free(flight, *range(8 * 49, 8 * 50))
    up, down = estimate(SIZE, 16)
    assert flight.ahead(written, more=True) == (2 * up, 2 * down)  # what waits is held back by something else


def test_a_large_message_raises_what_is_written_beside_others_within_a_bound() -> None:
    """While it is in flight all that it may cost is written, after it no more than the headroom."""
    flight = InFlight()
    start(flight, 1, size=1_000_000)
    start(flight, 2)
    written = flight.ahead(Traffic())
    assert written.up > 2_000_000
    record(flight, 1)
    assert flight.ahead(written).up == HEADROOM
