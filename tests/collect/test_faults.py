"""The broker is away, refuses, hangs or dies: 503, in time, and 200 again once it is back."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.collect.mqtt import LONGEST_DELAY, WAIT
from bridge.core.reconnects import Reconnects
from tests.harness import Client, Keeper, Mosquitto, eventually
from tests.harness.collector import CollectorProcess, batch, webhook
from tests.harness.process import patient
from tests.harness.scripted_broker import CUT, DIE, IGNORE, Answer, Publication, ScriptedBroker

REFUSED, QUOTA = 0x87, 0x97


class Script:
    """What the broker does with the n-th publication of each payload; the last answer goes on."""

    def __init__(self) -> None:
        self.answers: dict[bytes, list[Answer]] = {}

    def __call__(self, publication: Publication) -> Answer:
        answers = self.answers.get(publication.payload, [0])
        return answers.pop(0) if len(answers) > 1 else answers[0]


def test_only_what_the_broker_has_acknowledged_is_answered_200(keeper: Keeper, tmp_path: Path) -> None:
    """Refused, full, cut and dead are 503; what was acknowledged before is not published again."""
    script = Script()
    broker = ScriptedBroker(script)
    keeper.finally_(broker.close)
    collector = CollectorProcess(keeper, tmp_path, mqtt={"port": broker.port})
    collector.start()
    script.answers = {b"1": [REFUSED, QUOTA, CUT, DIE, 0]}
    replies = []
    for _ in range(4):
        replies.append(collector.post(webhook(batch("f1", 3), "batch")))
        collector.wait_connected()
    assert [each.status for each in replies] == [503] * 4
    assert "Not authorized" in replies[0].text
    assert "Quota exceeded" in replies[1].text
    assert collector.post(webhook(batch("f1", 3), "batch")).status == 200
    assert broker.payloads("fleet/5678/sensors/kitchen").count(b"0") == 1
    assert broker.payloads("fleet/5678/sensors/kitchen").count(b"1") == 1
    script.answers = {b"alone": [IGNORE]}
    reply = collector.post(webhook(b"alone", "a"))
    assert reply.status == 503
    assert "has not acknowledged within 8 s" in reply.text


def test_a_try_to_connect_is_never_more_than_five_seconds_away() -> None:
    """However long the broker was away, and however often it cut the connection."""
    away, cut = Reconnects(lambda _low, high: high, LONGEST_DELAY), Reconnects(max, LONGEST_DELAY)
    for _ in range(50):
        away.ended(None)
        cut.ended(1.0)
        assert away.delay() < 5 > cut.delay()
    assert WAIT < 10


def test_a_broker_that_was_away_is_found_again(keeper: Keeper, tmp_path: Path) -> None:
    """Before it is there, and after it was killed, requests are refused at once, and health says why."""
    mosquitto = Mosquitto(keeper, tmp_path / "mosquitto")
    collector = CollectorProcess(keeper, tmp_path, mqtt={"port": mosquitto.port, "protocol": "3.1.1"})
    collector.start(wait=False)
    for n in range(2):
        health = eventually(lambda: collector.get("/health"))
        assert (health.status, health.json()["state"]) == (503, "unavailable")
        assert collector.post(webhook(b"1", "a")).status == 503
        mosquitto.start()
        collector.wait_connected()
        with Client(mosquitto.port, "fleet/#") as client:
            assert collector.post(webhook(batch(f"x-{n}", 5), "batch")).status == 200
            eventually(lambda: len(client.messages("fleet/5678/sensors/kitchen")) == 5)
        mosquitto.kill()
        eventually(lambda: collector.get("/health").status == 503)
    assert collector.stop() == 0
    assert "Traceback" not in collector.said()


@pytest.mark.slow
def test_a_broker_that_hangs_gets_nothing_answered_200(keeper: Keeper, tmp_path: Path) -> None:
    """Stopped with SIGSTOP under load: 503 to each, large ones too; once it goes on each is there once."""
    mosquitto = Mosquitto(keeper, tmp_path / "mosquitto")
    mosquitto.start()
    collector = CollectorProcess(keeper, tmp_path / "c", mqtt={"port": mosquitto.port})
    collector.start()
    requests = [webhook(batch(f"h{n}", 20, f"s/{n}"), "batch") for n in range(4)]
    large = webhook(b"x" * 150_000, "large")
    with Client(mosquitto.port, "fleet/#") as client, ThreadPoolExecutor(16) as pool:
        mosquitto.hang()
        replies = list(pool.map(collector.timed, [*requests, *[large] * 12]))
        mosquitto.go_on()
        assert {reply.status for reply, _ in replies} == {503}
        assert max(seconds for _, seconds in replies) < patient(10)
        for request in requests:
            eventually(lambda request=request: collector.post(request).status == 200, 30)  # type: ignore[misc]
        for n in range(4):
            wanted = [b"%d" % each for each in range(20)]
            eventually(lambda n=n: len(client.messages(f"fleet/5678/s/{n}")) >= 20)  # type: ignore[misc]
            assert sorted({each.payload for each in client.messages(f"fleet/5678/s/{n}")}) == sorted(wanted)
    assert collector.stop() == 0
    assert "Traceback" not in collector.said()
