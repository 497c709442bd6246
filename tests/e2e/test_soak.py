"""A quarter of an hour at 30 messages a second, with everything killed: nothing lost, one result each."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.soak import PARALLEL, PARTS, Soak, taken_by_the_bridge, taken_by_the_broker
from tests.harness import Keeper

SECONDS = float(os.environ.get("SOAK_SECONDS", "900"))
"""How long: SOAK_SECONDS=60 for a short form."""

RATE = 30.0


@pytest.fixture
def soak(keeper: Keeper, tmp_path: Path) -> Soak:
    """All of it, after the time is over and everything has come to rest."""
    soak = Soak(keeper, tmp_path, seconds=SECONDS, rate=RATE)
    soak.start()
    soak.run(random.Random())
    soak.settle()
    return soak


def messages(soak: Soak) -> None:
    """Each message has one result, and the cloud has each; twice only what was under way at a kill."""
    taken = taken_by_the_bridge(soak.broker)
    arrived = set(soak.cloud.payloads())
    known = soak.results().keys()
    lost = {name for name in taken if name not in known and name.encode() not in arrived}
    assert not lost, f"the bridge has acknowledged, and lost: {sorted(lost)}"
    without = soak.repeat()
    unheard = sum(name.encode() in arrived for name in without)
    results = soak.results()
    assert {name: found for name, found in results.items() if len(found) > 1} == {}
    cloud = [name for name, given in soak.wanted.items() if not given.is_sms]
    assert {results[name][0]["state"] for name in cloud} == {"delivered"}
    arrivals = Counter(soak.cloud.payloads())
    assert arrivals.keys() == {name.encode() for name in cloud}
    twice = sum(arrivals.values()) - len(arrivals)
    own = sum("/n/" in each.topic for each in soak.wanted.values())
    print(f"{len(cloud)} messages, {twice} arrived more than once; of {own} the bridge took {len(taken)}")
    print(
        f"{len(without)} were published again: {len(without) - unheard} that only the broker had, "
        f"{unheard} whose result only the broker had"
    )
    assert len(taken) > len(cloud) / 4, "the broker's log was understood"
    assert twice <= soak.kills.total() * PARALLEL


def texts_out(soak: Soak) -> None:
    """No text went out twice; each that is delivered did once, the others say that nobody knows."""
    sent = Counter(each["text"] for each in soak.modem.sms)
    results = soak.results()
    states = {name: results[name][0]["state"] for name, given in soak.wanted.items() if given.is_sms}
    print(f"{len(states)} texts over the air: {dict(Counter(states.values()))}")
    assert set(states.values()) <= {"delivered", "unconfirmed"}
    assert [name for name in states if sent[name] > 1] == []
    assert [name for name, state in states.items() if state == "delivered" and sent[name] != 1] == []
    unconfirmed = Counter(states.values())["unconfirmed"]
    assert unconfirmed <= soak.kills["bridge"] + soak.kills["modem"]


def inbound(soak: Soak) -> None:
    """What its sender was told to be safe was published; no more often than it was sent."""
    received: dict[bytes, set[str]] = {}
    for each in soak.client.messages("hologram/in"):
        received.setdefault(each.payload, set()).add(each.properties["user"]["id"])
    missing = soak.pushed.keys() - received.keys()
    at_the_broker = taken_by_the_broker(soak.broker, "hologram/in")
    print(
        f"{len(soak.pushed)} inbound messages, sent {soak.pushed.total()} times; "
        f"{len(missing)} were lost that only the broker had"
    )
    assert [data for data in missing if len(data) not in at_the_broker] == []
    assert [data for data, ids in received.items() if len(ids) > soak.pushed[data]] == []


def sms_inbox(soak: Soak) -> None:
    """What left the modem's store was published; no more often than it came."""
    came = soak.client.messages("hologram/in/sms")
    received: dict[str, set[str]] = {}
    for each in came:
        received.setdefault(each.json()["body"], set()).add(each.json()["id"])
    missing = soak.texts.keys() - received.keys()
    around = {len(each.payload) - len(each.json()["body"]) for each in came}
    at_the_broker = taken_by_the_broker(soak.broker, "hologram/in/sms")
    print(
        f"{len(soak.texts)} inbound texts, which came {soak.texts.total()} times; "
        f"{len(missing)} were lost that only the broker had"
    )
    assert [text for text in missing if not {len(text) + size for size in around} & at_the_broker] == []
    assert [text for text, ids in received.items() if len(ids) > soak.texts[text]] == []


@pytest.mark.slow
def test_a_quarter_of_an_hour_with_everything_killed(soak: Soak) -> None:
    """Messages, texts and inbound messages at once; bridge, broker, cloud and modem die by SIGKILL."""
    print(f"{SECONDS:.0f} s, kills: {dict(soak.kills)}")
    assert set(soak.kills) == set(PARTS)
    messages(soak)
    texts_out(soak)
    inbound(soak)
    sms_inbox(soak)
    assert "Traceback" not in soak.bridge.said()
