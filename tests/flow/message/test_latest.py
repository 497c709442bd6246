"""Only the latest: what its results say, and how often a place is tried."""

from bridge.core.destination import SUSPECTS
from bridge.core.routing import Route
from tests.doubles.heart import Heart, answered, silent
from tests.flow.conftest import MakeHeart

ROUTES = [("l/#", Route(latest=True))]


def test_the_older_ones_end_as_superseded_in_their_order(make_heart: MakeHeart) -> None:
    """Each with its own id and reply topic, and no event; the newest goes in the first one's place."""
    heart = make_heart(routes=ROUTES)
    heart.uplink.paused = True
    heart.publish("out/l/a", b"1", id="one", reply="me")
    heart.publish("out/b", b"plain")
    heart.publish("out/l/a", b"2")
    heart.publish("out/l/a", b"3", id="three")
    assert heart.queued() == ["3", "plain"]
    assert heart.states() == ["superseded"] * 2
    assert heart.ended()[0]["id"] == "one"
    assert heart.ended()[0]["description"].startswith("a newer message")
    assert [each.topic for each in heart.reports()] == ["hologram/result", "me", "hologram/result"]
    assert "message.dropped" not in heart.events()
    assert heart.outbox.ledger.counts["superseded"] == 2
    heart.publish("out/l/a", b"4", id="one")
    assert heart.queued() == ["3", "plain"], "the id was used, and its result is reported again"
    assert heart.states() == ["superseded"] * 3
    heart.command("queue/set", b"resume")
    heart.cloud.end(answered())
    heart.turn()
    assert heart.ended()[-1]["id"] == "three"


def test_what_is_being_sent_ends_by_its_answer(make_heart: MakeHeart) -> None:
    """Only what waits behind it is replaced."""
    heart = make_heart(routes=ROUTES)
    for text in (b"1", b"2", b"3"):
        heart.publish("out/l/a", text)
    assert (heart.queued(), heart.states()) == (["1", "3"], ["superseded"])
    heart.cloud.end(answered())
    heart.turn()
    assert heart.states() == ["superseded", "delivered"]
    heart.cloud.end(answered())
    heart.turn()
    assert heart.states() == ["superseded", "delivered", "delivered"]


def requests(heart: Heart, seconds: int) -> int:
    """Return the number of requests while a reading comes each second and none is answered."""
    before = len(heart.cloud.jobs)
    for number in range(seconds):
        heart.publish("out/l/a", f"{number}".encode())
        if heart.cloud.in_progress:
            heart.cloud.end(silent())
        heart.turn(1.0)
    return len(heart.cloud.jobs) - before


def test_new_readings_do_not_hasten_the_attempts(make_heart: MakeHeart) -> None:
    """A place whose messages are never answered is tried ever more rarely, as a single message would be."""
    heart = make_heart(routes=ROUTES)
    assert SUSPECTS > 1, "one lane does not take the destination down"
    requests(heart, 600)
    assert requests(heart, 1200) < 60
