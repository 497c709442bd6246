"""The client id: it stays, and the sessions of earlier ids are fetched and ended."""

from bridge.flow.health.client_id import ClientId, Earlier
from bridge.flow.health.monitor import CONTROL_FILTERS, DATA_FILTERS
from bridge.flow.message.sessions import DATA
from tests.doubles.heart import Heart
from tests.flow.conftest import MakeHeart


def made(
    heart: Heart, configured: str | None = None, *, hostname: str = "box", machine: str = "here"
) -> ClientId:
    """Return the id of a start, written down."""
    found = ClientId(heart.journal, configured=configured, hostname=hostname, machine=machine)
    heart.turn()
    return found


def test_an_id_that_was_made_stays(make_heart: MakeHeart) -> None:
    """Neither a new hostname nor a configured id in between changes it."""
    assert made(make_heart()).id == "hologram-bridge-box"
    assert made(make_heart(), hostname="renamed").id == "hologram-bridge-box"
    assert made(make_heart(), "mine", hostname="renamed").id == "mine"
    assert made(make_heart(), hostname="renamed").id == "hologram-bridge-box"


def test_a_replaced_id_is_remembered_until_its_session_is_ended(make_heart: MakeHeart) -> None:
    """The session number and the filters are kept with it, because they are needed to fetch its messages."""
    heart = make_heart()
    made(heart)
    heart.write(lambda: heart.outbox.set_meta(DATA, 3))
    heart.write(lambda: heart.outbox.set_meta(DATA_FILTERS, '["hologram/out/#"]'))
    heart.write(lambda: heart.outbox.set_meta(CONTROL_FILTERS, '["hologram/queue/set"]'))
    expected = Earlier("hologram-bridge-box", 3, ["hologram/out/#", "hologram/queue/set"])
    assert made(make_heart(), "mine").earlier == [expected]
    heart = make_heart()
    again = made(heart, "mine")
    assert again.earlier == [expected]
    again.ended(again.earlier[0])
    heart.turn()
    assert made(make_heart(), "mine").earlier == []


def test_several_replaced_ids_are_remembered_in_their_order(make_heart: MakeHeart) -> None:
    """An id that is in use again is not among them."""
    for configured in ("one", "two", "three"):
        made(make_heart(), configured)
    assert [each.id for each in made(make_heart(), "four").earlier] == ["one", "two", "three"]
    assert [each.id for each in made(make_heart(), "two").earlier] == ["one", "three", "four"]


def test_a_copied_store_leaves_the_sessions_to_the_other_box(make_heart: MakeHeart) -> None:
    """The other box may be using them."""
    made(make_heart(), "one")
    copied = made(make_heart(), "two", machine="there")
    assert (copied.copied, copied.earlier) == (True, [])
    assert not made(make_heart(), "two", machine="there").copied


def test_a_machine_that_nothing_tells_from_others_is_taken_for_the_same(make_heart: MakeHeart) -> None:
    """Without a serial number and a machine id there is no evidence of a copy."""
    made(make_heart(), "one")
    assert not made(make_heart(), "one", machine="").copied
    assert made(make_heart(), "one", machine="there").copied


def test_an_id_that_another_client_uses_is_left_to_it(make_heart: MakeHeart) -> None:
    """The other client may be the reason for the new id."""
    heart = make_heart()
    found = made(heart, "one")
    found.shared(True)
    heart.turn()
    assert made(make_heart(), "two").earlier == []


def test_an_id_that_is_ours_again_is_fetched(make_heart: MakeHeart) -> None:
    """The other client was not seen again."""
    heart = make_heart()
    found = made(heart, "one")
    found.shared(True)
    found.shared(False)
    heart.turn()
    assert [each.id for each in made(make_heart(), "two").earlier] == ["one"]
