"""The time of a message: what waits for it, for how long, and what learns it late."""

import json

from bridge.core.known_time import LONGEST_WAIT
from bridge.core.messages import Channel, Endpoint
from bridge.core.routing import Route
from bridge.flow.message.codecs import MAX_DATAGRAM
from bridge.store.outbox import Limits
from tests.doubles.heart import Heart, Peer, answered, silent
from tests.doubles.time import NOON, Clock
from tests.flow.conftest import MakeHeart

STAMPED = [("s/#", Route(stamp="at"))]


def unknown(make_heart: MakeHeart, wall: float = 0.0) -> Heart:
    """Return the flow of a box that does not know the time."""
    return make_heart(routes=STAMPED, clock=Clock(wall), slots=2, knows_time=False)


def at(heart: Heart) -> list[int | None]:
    """Return the time of each message in the outbox."""
    return [queued.at for queued in heart.outbox.page(0, 1 << 60, 100)]


def test_what_needs_the_time_waits_until_the_box_knows_it(make_heart: MakeHeart) -> None:
    """Others pass it, also where as many wait as there are slots; then it goes with the time it came at."""
    heart = unknown(make_heart)
    heart.turn(5.0)
    for number in range(3):
        heart.publish(f"out/s/{number}")
    heart.publish("out/s/own", at="1234")
    heart.publish("out/plain")
    assert heart.cloud.in_progress == 2
    for _ in range(2):
        heart.cloud.end(answered())
    heart.turn(100.0)
    assert (heart.cloud.in_progress, at(heart)) == (0, [None] * 3)
    heart.time.clock.step(NOON)
    heart.time.known = True
    heart.turn(3.0)
    assert at(heart) == [NOON + 5] * 3
    assert heart.cloud.in_progress == 2


def test_the_wait_ends_ten_minutes_after_the_way_was_open(make_heart: MakeHeart) -> None:
    """The message then goes without a time, and keeps to that; later ones do not wait again."""
    heart = unknown(make_heart)
    heart.identified = False
    heart.publish("out/s/1")
    heart.turn(2 * LONGEST_WAIT)
    heart.identified = True
    heart.uplink.wake()
    heart.turn(LONGEST_WAIT - 2)
    assert heart.cloud.in_progress == 0
    heart.turn(3.0)
    assert heart.cloud.in_progress == 1
    heart.cloud.end(silent())
    heart.time.clock.step(NOON)
    heart.time.known = True
    heart.turn(10.0)
    assert heart.outbox.times.known
    assert at(heart) == [None], "a repeat is the same message"
    heart.cloud.end(answered())
    heart.publish("out/s/2")
    assert at(heart)[0]


def test_later_messages_do_not_wait_once_the_wait_is_over(make_heart: MakeHeart) -> None:
    """A box that never learns the time sends at once."""
    heart = unknown(make_heart)
    heart.publish("out/a")
    heart.cloud.end(answered())
    heart.turn(LONGEST_WAIT)
    heart.publish("out/s/1")
    assert heart.cloud.in_progress == 1


def test_nothing_waits_on_a_box_that_knows_the_time(make_heart: MakeHeart) -> None:
    """The first message goes at once, with the second of its receipt."""
    heart = make_heart(routes=STAMPED)
    heart.uplink.paused = True
    heart.publish("out/s/1")
    assert at(heart) == [NOON]
    heart.uplink.paused = False
    heart.uplink.wake()
    heart.turn()
    assert heart.cloud.in_progress == 1


def test_a_time_that_may_change_is_on_disk_before_the_message_leaves(make_heart: MakeHeart) -> None:
    """The message came before the time was known; a step between two attempts does not date it anew."""
    heart = unknown(make_heart)
    heart.publish("out/s/1")
    heart.time.clock.step(NOON)
    heart.time.known = True
    heart.turn(3.0)
    (first,) = at(heart)
    heart.cloud.end(silent())
    heart.turn()
    heart.time.clock.step(1000.0)
    heart.write(heart.outbox.sweep)
    assert at(heart) == [first]


# -- in the payload --------------------------------------------------------------------------------------


def requested(peer: Peer) -> list[str]:
    """Return the payloads of the requests to the cloud."""
    return [json.loads(job.request)["d"] for job in peer.jobs]


def test_the_time_goes_with_the_message(make_heart: MakeHeart) -> None:
    """The producer's own beats the bridge's; a repeat has the same, however late it is."""
    heart = make_heart(routes=STAMPED)
    heart.publish("out/s/1", b'{"t":1}')
    heart.cloud.end(silent())
    heart.turn(100.0)
    heart.cloud.end(answered())
    heart.publish("out/s/2", b"21.5", at="1234.5")
    heart.publish("out/plain", b"3")
    one = f'{{"t":1,"at":{NOON:.0f}}}'
    assert requested(heart.cloud) == [one, one, '{"at":1234,"value":21.5}', "3"]


def test_a_message_that_waited_in_vain_has_null(make_heart: MakeHeart) -> None:
    """Its receiver sees that nobody knew."""
    heart = unknown(make_heart)
    heart.publish("out/s/1", b"{}")
    heart.turn(LONGEST_WAIT + 2)
    assert requested(heart.cloud) == ['{"at":null}']


def test_the_limit_of_size_counts_with_the_time(make_heart: MakeHeart) -> None:
    """What the request would not hold is refused at once, with what it would have."""
    heart = make_heart(routes=STAMPED, limits=Limits(max_bytes=1000))
    heart.publish("out/s/1", b"\xff" * 730)
    heart.publish("out/s/1", b"\xff" * 700)
    heart.turn()
    assert heart.states() == ["rejected"]
    assert heart.ended()[0]["description"].startswith("payload: '1013 bytes'")
    assert len(requested(heart.cloud)) == 1


def test_a_datagram_is_measured_with_the_time(make_heart: MakeHeart) -> None:
    """It is what is sent that has to fit."""
    udp = Route(Endpoint(Channel.UDP, "sink", 5020), stamp="at")
    heart = make_heart(routes=[("u", udp)])
    heart.publish("out/u", b"9" * MAX_DATAGRAM)
    heart.turn()
    assert heart.states() == ["rejected"]
    heart.publish("out/u", b"9" * (MAX_DATAGRAM - 26))
    assert len(heart.udp.jobs[0].request) == MAX_DATAGRAM
