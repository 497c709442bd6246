"""The numbers of the broker's sessions, which tell their packet identifiers apart."""

from bridge.flow.message.sessions import CONTROL, DATA, SessionNumber
from tests.flow.conftest import MakeHeart


def test_a_number_lasts_across_a_restart(make_heart: MakeHeart) -> None:
    """The broker's session lasts across it, too."""
    heart = make_heart()
    first = SessionNumber(heart.journal, DATA)
    assert first.number == 0
    first.renewed()
    first.renewed()
    heart.turn()
    heart = make_heart()
    assert SessionNumber(heart.journal, DATA).number == 2


def test_each_session_has_its_own(make_heart: MakeHeart) -> None:
    """The broker may lose one of them."""
    heart = make_heart()
    SessionNumber(heart.journal, CONTROL).renewed()
    heart.turn()
    assert [SessionNumber(heart.journal, key).number for key in (DATA, CONTROL)] == [0, 1]
