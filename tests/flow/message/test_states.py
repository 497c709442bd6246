"""Retained states: what the broker is still to be told."""

from bridge.flow.message.states import States


def told(states: States) -> dict[str, bytes | None]:
    """Tell everything that is due."""
    return {topic: states.take(topic) for topic in states.due}


def test_what_has_not_changed_is_not_told() -> None:
    """Unless it is asked for again."""
    states = States()
    states.set("a", b"1", again=False)
    assert told(states) == {"a": b"1"}
    states.set("a", b"1", again=False)
    assert told(states) == {}
    states.set("a", b"1", again=True)
    assert told(states) == {"a": b"1"}
    states.repeat()
    assert told(states) == {"a": b"1"}


def test_a_removal_lasts_until_the_broker_has_it() -> None:
    """Not what was told before it counts, and a lost connection has it told again."""
    states, gone = States(), []
    states.set("a", b"1", again=False)
    told(states)
    states.remove("a", lambda: gone.append("a"))
    states.published("a", None)  # of what was told before
    assert gone == []
    assert told(states) == {"a": b""}
    states.again(["a"])
    assert told(states) == {"a": b""}
    states.published("a", None)
    assert gone == ["a"]
    states.repeat()
    assert told(states) == {}


def test_what_is_set_after_a_removal_stays() -> None:
    """The removal is nobody's wish any more."""
    states, gone = States(), []
    states.remove("a", lambda: gone.append("a"))
    told(states)
    states.set("a", b"1", again=False)
    told(states)
    states.published("a", None)
    assert gone == []
    states.repeat()
    assert told(states) == {"a": b"1"}


def test_what_the_connection_was_cut_for_is_left_out() -> None:
    """It is said once; a smaller one is told, and once it is taken, all are."""
    states = States()
    said: list[str] = []
    states.on_problem = said.append
    states.set("a", b"12345", again=False)
    told(states)
    states.refused("a", "the broker ends the connection", cut=True)
    states.repeat()
    assert told(states) == {"a": None}
    states.set("a", b"123456", again=False)
    assert told(states) == {"a": None}
    states.refused("a", "again", cut=True)
    assert len(said) == 1
    states.set("a", b"1234", again=False)
    assert told(states) == {"a": b"1234"}
    states.published("a", None)
    states.set("a", b"12345678", again=False)
    assert told(states) == {"a": b"12345678"}


def test_a_refusal_in_words_is_asked_again() -> None:
    """It costs no connection, and may have been mended."""
    states = States()
    states.set("a", b"1", again=False)
    told(states)
    states.published("a", "Not authorized")
    states.repeat()
    assert told(states) == {"a": b"1"}
