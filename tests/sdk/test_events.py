"""Handlers by name of the event."""

import logging

import pytest

from bridge.sdk import CustomCloud, Event
from bridge.sdk.legacy import Hologram


def test_handlers_hear_in_the_order_of_their_subscription() -> None:
    """Each once, however often it was subscribed, and only of its event."""
    event, told = Event(), list[str]()

    def first() -> None:
        told.append("first")

    event.subscribe("message.sent", first)
    event.subscribe("message.sent", lambda: told.append("second"))
    event.subscribe("message.sent", first)
    event.subscribe("message.received", lambda: told.append("other"))
    event.broadcast("message.sent")
    event.broadcast("nobody.hears")
    assert told == ["first", "second"]


def test_a_handler_that_is_gone_hears_no_more() -> None:
    """Taking away what was never there does nothing, also from within a handler."""
    event, told = Event(), list[str]()

    def once() -> None:
        told.append("once")
        event.unsubscribe("x", once)

    event.subscribe("x", once)
    event.subscribe("x", lambda: told.append("always"))
    event.unsubscribe("x", lambda: None)
    event.unsubscribe("y", once)
    event.broadcast("x")
    event.broadcast("x")
    assert told == ["once", "always", "always"]


def test_a_handler_that_raises_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged under the class's name, and the one who broadcasts goes on."""
    event, told = Event(), list[str]()

    def broken() -> None:
        raise ZeroDivisionError

    event.subscribe("x", broken)
    event.subscribe("x", lambda: told.append("heard"))
    with caplog.at_level(logging.INFO):
        event.broadcast("x")
    assert told == ["heard"]
    assert [(record.levelname, record.name) for record in caplog.records] == [("ERROR", "Event")]


def test_each_cloud_has_its_own_events() -> None:
    """Another cloud's handlers hear nothing; ``raw.event`` of the older face is the same object."""
    one, two, told = CustomCloud(None), CustomCloud(None), list[str]()
    one.event.subscribe("x", lambda: told.append("one"))
    two.event.broadcast("x")
    assert told == []
    hologram = Hologram(None, raw="raw")
    assert hologram.event is hologram.raw.event
    hologram.raw.event.subscribe("x", lambda: told.append("raw"))
    hologram.event.broadcast("x")
    assert told == ["raw"]
