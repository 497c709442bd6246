"""The announcement to Home Assistant: when it is made, and how removed components disappear."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bridge.core.delivery import NO_PROPERTIES, Delivery
from bridge.flow.health.home_assistant import BIRTH_PAUSE, REMOVAL_PAUSE, STATES_PAUSE, HomeAssistant
from bridge.flow.message.publisher import Publisher
from bridge.flow.message.topics import Names
from bridge.protocol.api.discovery import Device
from bridge.store.journal import Journal
from tests.doubles.heart import Heart
from tests.flow.conftest import MakeHeart

CONFIG = "homeassistant/device/hologram_bridge_my_box/config"
BORN = BIRTH_PAUSE[1] + 0.1
"""Seconds after which the birth message has been answered."""


class _Publisher(Publisher):
    """Keeps what is published and cleared in a rig."""

    def __init__(self, journal: Journal, rig: "Rig") -> None:
        super().__init__(journal, Names("box"))
        self._rig = rig

    def state(self, topic: str, payload: bytes, *, again: bool = False) -> None:
        assert again
        self._rig.published.append((topic, json.loads(payload)))

    def clear_retained(self, topic: str, then: Callable[[], None]) -> None:
        self._rig.cleared[topic] = then

    def repeat(self) -> None:
        self._rig.repeats += 1


class Rig:
    """One run of the bridge; the broker forgets a state when a test says so."""

    def __init__(
        self,
        heart: Heart,
        *,
        enabled: bool = True,
        prefix: str = "homeassistant",
        host: str = "My Box",
        kind: str = "cellular",
    ) -> None:
        self.heart = heart
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.cleared: dict[str, Callable[[], None]] = {}
        self.repeats = 0
        self.home = HomeAssistant(
            heart.journal,
            _Publisher(heart.journal, self),
            prefix=prefix,
            enabled=enabled,
            host=host,
            device=lambda name: Device(name, "1.0", kind, "Box"),
        )
        self.home.start()
        heart.turn()

    def born(self, payload: bytes = b"online") -> None:
        self.home.received(Delivery(self.home.birth, payload, 0, False, False, 0, 1, NO_PROPERTIES))

    def components(self, place: int = -1) -> dict[str, Any]:
        """Return the components of an announcement."""
        found: dict[str, Any] = self.published[place][1]["cmps"]
        return found

    def forget(self) -> None:
        """The broker has cleared what it was asked to."""
        for topic in list(self.cleared):
            self.cleared.pop(topic)()
        self.heart.turn()


def test_the_device_is_announced_at_the_start(make_heart: MakeHeart) -> None:
    """The host's name makes the id, which stays when the name changes."""
    rig = Rig(make_heart())
    assert [topic for topic, _ in rig.published] == [CONFIG]
    assert rig.published[0][1]["dev"]["ids"] == ["hologram_bridge_my_box"]
    assert [topic for topic, _ in Rig(make_heart(), host="renamed").published] == [CONFIG]


def test_a_birth_message_has_it_announced_again(make_heart: MakeHeart) -> None:
    """The pause is random. The states follow when Home Assistant has set the entities up."""
    rig = Rig(make_heart())
    rig.born()
    rig.heart.turn(BIRTH_PAUSE[0] - 0.1)
    assert len(rig.published) == 1
    while len(rig.published) == 1:
        rig.heart.turn(0.1)
    assert rig.repeats == 0
    rig.heart.turn(STATES_PAUSE)
    assert (len(rig.published), rig.repeats) == (2, 1)


def test_several_births_in_a_row_are_answered_once(make_heart: MakeHeart) -> None:
    """Home Assistant may restart several times; its last will is no birth message."""
    rig = Rig(make_heart())
    for _ in range(3):
        rig.born()
    rig.born(b"offline")
    rig.heart.turn(BORN + STATES_PAUSE)
    assert (len(rig.published), rig.repeats) == (2, 1)


def test_a_component_that_is_gone_is_removed(make_heart: MakeHeart) -> None:
    """It is announced with its platform alone.

    After the next birth message it comes whole once, and then so again.
    """
    rig = Rig(make_heart())
    assert len(rig.components()["signal"]) > 1
    heart = make_heart()
    rig = Rig(heart, kind="wifi")
    assert rig.components()["operator"] == {"p": "sensor"}
    rig.born()
    told = len(rig.published)
    heart.turn(BIRTH_PAUSE[0] - 0.1)
    while len(rig.published) == told:  # the pause is random
        heart.turn(0.1)
    assert len(rig.components()["operator"]) > 1
    heart.turn(REMOVAL_PAUSE)
    assert rig.components()["operator"] == {"p": "sensor"}
    rig.born()
    heart.turn(BORN + REMOVAL_PAUSE)
    assert "operator" not in rig.components()


@pytest.mark.parametrize("after_birth", [False, True])
def test_a_discovery_that_is_switched_off_removes_the_device(
    make_heart: MakeHeart, after_birth: bool
) -> None:
    """It is removed at once, and after the next birth message from a Home Assistant that was away."""
    Rig(make_heart())
    rig = Rig(make_heart(), enabled=False)
    assert (rig.published, list(rig.cleared)) == ([], [CONFIG])
    rig.forget()
    if after_birth:
        rig.born()
        rig.heart.turn(BORN)
        assert all(len(each) > 1 for each in rig.components().values())
        rig.heart.turn(REMOVAL_PAUSE)
        assert list(rig.cleared) == [CONFIG]
        rig.forget()
        again = Rig(make_heart(), enabled=False)
        again.born()
        again.heart.turn(BORN)
        assert again.published == []


def test_an_announcement_that_the_broker_did_not_forget_is_cleared_again(make_heart: MakeHeart) -> None:
    """The broker was away; the bridge tries again at each start."""
    Rig(make_heart())
    for _ in range(2):
        assert list(Rig(make_heart(), enabled=False).cleared) == [CONFIG]
    rig = Rig(make_heart(), enabled=False)
    rig.forget()
    assert list(Rig(make_heart(), enabled=False).cleared) == []


def test_another_prefix_moves_the_announcement(make_heart: MakeHeart) -> None:
    """The announcement under the first prefix is cleared."""
    Rig(make_heart())
    rig = Rig(make_heart(), prefix="ha")
    assert [topic for topic, _ in rig.published] == ["ha/device/hologram_bridge_my_box/config"]
    assert list(rig.cleared) == [CONFIG]
    assert rig.home.birth == "ha/status"


def test_each_earlier_announcement_is_cleared_by_itself(make_heart: MakeHeart) -> None:
    """The broker may have forgotten one and not the other when the bridge stops."""
    Rig(make_heart())
    Rig(make_heart(), prefix="ha")
    rig = Rig(make_heart(), prefix="third")
    assert len(rig.cleared) == 2
    rig.cleared[CONFIG]()
    rig.heart.turn()
    assert list(Rig(make_heart(), prefix="third").cleared) == ["ha/device/hologram_bridge_my_box/config"]


def test_switched_off_from_the_start_nothing_is_published(make_heart: MakeHeart) -> None:
    """A birth message changes nothing about that."""
    rig = Rig(make_heart(), enabled=False)
    rig.born()
    rig.heart.turn(BORN)
    assert (rig.published, rig.cleared) == ([], {})
