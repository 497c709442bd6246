"""SMS over the air: the bridge with a simulated modem on real ptys, both ways, with what goes wrong."""

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.sim.modem import air
from tests.harness import BridgeProcess, Client, Keeper
from tests.harness.modem import SimModem
from tests.harness.process import eventually
from tests.harness.systemd import Systemd

IN, LAST = "hologram/in/sms", "hologram/in/sms/last"
FROM = "+15557654321"
AT = datetime(2026, 11, 21, 8, 30, 15, tzinfo=UTC)


class Rig:
    """A broker, a modem, and a bridge that sends its texts over the air."""

    def __init__(self, keeper: Keeper, folder: Path, bridge: BridgeProcess, client: Client) -> None:
        self.bridge = bridge
        self.client = client
        # Without sockets, so that no link comes up: texts need none.
        self.modem = SimModem(keeper, folder / "modem", "e303")
        bridge.configure(
            network={
                "interface": "cellular-e303",
                "device": [str(self.modem.at), str(self.modem.dial)],
                "autoconnect": False,
            },
            sms={"via": "modem", "max_segments": 9},
        )

    def start(self, *options: str, **sms: Any) -> None:
        """Start both, and wait until the modem is in a network."""
        self.bridge.configure(sms=sms)
        self.modem.start("--registration", "0.2", "--boot", "0.2", "--sim-delay", "0.1", *options)
        self.bridge.start()
        self.wait_registered()

    def wait_registered(self) -> None:
        """Wait until the bridge knows that the modem is in a network."""
        status = "hologram/network/status"
        self.client.wait_for(
            lambda: self.client.state(status).get("registration") == "roaming", 20, "the modem is registered"
        )

    def send(self, body: str, message_id: str, **more: Any) -> None:
        """Ask for a text."""
        command = {"to": "+15551234567", "body": body, "id": message_id, **more}
        self.client.publish("hologram/sms", json.dumps(command), wait=False)

    def receive(self, *pdus: bytes) -> None:
        """Have PDUs come over the air."""
        for pdu in pdus:
            self.modem.tell("sms", pdu=pdu.hex())

    def sent(self) -> dict[str, list[str]]:
        """Return the texts that went out, whole, by recipient; parts of one share their reference."""
        found: dict[str, list[str]] = {}
        for each in self.modem.sms:
            part, texts = each["part"], found.setdefault(each["to"], [])
            if part is None or part["number"] == 1:
                texts.append("")
            texts[-1] += each["text"]
        return found

    def received(self) -> dict[str, dict[str, Any]]:
        """Return the texts that came, by their ids: QoS 1 may bring one twice."""
        return {each["id"]: each for each in self.client.json(IN)}

    def wait_received(self, number: int, timeout: float = 20.0) -> list[str]:
        """Wait until so many texts have come; return them, and see that none is left on the modem."""
        self.client.wait_for(
            lambda: len(self.received()) >= number, timeout, f"{number} texts; {len(self.received())} came"
        )
        eventually(self.emptied, 10, what="nothing is left on the modem")
        return [each["body"] for each in self.received().values()]

    def has_received(self, number: int) -> bool:
        """Whether the modem has taken so many parts in."""
        return bool(self.modem.state()["sms"]["received"] >= number)

    def emptied(self) -> bool:
        """Whether nothing is on the modem, and nothing waits for it."""
        sms = self.modem.state()["sms"]
        return bool(sms["stored"] == sms["waiting"] == 0)


@pytest.fixture
def rig(keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, client: Client) -> Rig:
    """All of it, not started yet."""
    return Rig(keeper, tmp_path, bridge, client)


def bodies(number: int, chance: random.Random) -> list[str]:
    """Return texts of 1 to 600 characters, no two the same, every other one Unicode."""
    letters = ("abc xyz 0189 @é€[]\n", "aé你好😀ж ")
    found: dict[str, None] = {"x": None, "€" * 600: None, "ж" * 600: None}
    while len(found) < number:
        length = chance.randint(1, 600)
        text = "".join(chance.choices(letters[len(found) % 2], k=length))
        if sum(2 if ord(sign) > 0xFFFF else 1 for sign in text) <= 600:  # nine parts
            found[text] = None
    return list(found)[:number]


def arriving(texts: list[str], chance: random.Random) -> list[bytes]:
    """Return the parts of ``texts``, from several senders, shuffled, some of them doubled."""
    pdus = [
        pdu
        for number, text in enumerate(texts)
        for pdu in air.parts(
            f"+1555{number // 256:07}",
            text,
            AT + timedelta(seconds=number),
            reference=number % 256,
            wide=number % 3 == 0,
        )
    ]
    pdus += chance.sample(pdus, len(pdus) // 10)
    chance.shuffle(pdus)
    return pdus


def both_ways(rig: Rig, number: int, timeout: float) -> None:
    chance = random.Random(number)
    texts = bodies(number, chance)
    rig.start()
    for place, text in enumerate(texts):
        rig.send(text, f"m{place}")
    rig.receive(*arriving(texts, chance))
    assert Counter(rig.wait_received(number, timeout)) == Counter(texts)
    results = rig.client.wait_results(number, timeout)
    assert Counter(each["state"] for each in results) == {"delivered": number}
    assert rig.sent() == {"+15551234567": texts}
    assert len(rig.client.json(IN)) == number


def test_texts_of_every_length_both_ways(rig: Rig) -> None:
    """Texts of 1 to 600 characters, GSM and Unicode, parts shuffled and doubled: all arrive whole, once."""
    both_ways(rig, 16, 60)


@pytest.mark.root
def test_a_thousand_texts_both_ways(rig: Rig) -> None:
    """The same with 1,000 each way. It needs no root, but minutes."""
    both_ways(rig, 1000, 600)


def test_a_text_comes_with_all_that_is_known(rig: Rig) -> None:
    """The report has the fields of the contract, and the newest is kept for those who come later."""
    rig.start()
    rig.modem.tell("sms", from_="Design@Home", text="grün", at="2026-11-21T10:30:15+02:00")
    rig.wait_received(1)
    (text,) = rig.received().values()
    assert text == {
        "id": text["id"],
        "from": "Design@Home",
        "body": "grün",
        "received_at": text["received_at"],
        "sent_at": "2026-11-21T08:30:15.000Z",
        "parts": 1,
    }
    event = rig.client.wait_for(lambda: rig.client.events("sms.received"))[0]
    assert (event["id"], event["from"], event["parts"]) == (text["id"], "Design@Home", 1)
    with Client(rig.bridge.broker.port, LAST) as late:
        assert late.wait_last(LAST).json() == text
        assert late.wait_last(LAST).retain


def test_a_text_of_too_many_parts_is_rejected_with_their_number(rig: Rig) -> None:
    """Over sms.max_segments nothing goes out, and the result says how many parts it would take."""
    rig.start(max_segments=2)
    rig.send("a" * 307, "long")
    rig.send("a" * 306, "fits")
    result = rig.client.wait_result("long")
    assert result["state"] == "rejected"
    assert "would take 3 parts, and sms.max_segments is 2" in result["description"]
    assert rig.client.wait_result("fits")["state"] == "delivered"
    assert len(rig.modem.sms) == 2


def test_what_the_network_refuses_is_told_by_its_code(rig: Rig) -> None:
    """For good: rejected. For the moment: tried again. Nobody knows: unconfirmed, and never sent again."""
    rig.start()
    results = {}
    for name, codes in (("never", [28]), ("fine", [0]), ("later", [42, 0]), ("doubtful", [500])):
        rig.modem.tell("sms_errors", codes=codes)
        rig.send(name, name)
        results[name] = rig.client.wait_result(name, 20)
    assert {name: (each["state"], each["code"], each["attempts"]) for name, each in results.items()} == {
        "never": ("rejected", 28, 1),
        "fine": ("delivered", None, 1),
        "later": ("delivered", None, 2),
        "doubtful": ("unconfirmed", 500, 1),
    }
    assert "unidentified subscriber" in results["never"]["description"]
    assert [each["text"] for each in rig.modem.sms] == ["fine", "later"]
    assert rig.client.wait_for(lambda: rig.client.events("sms.unconfirmed"))[0]["id"] == "doubtful"


def test_the_modem_is_called_so_where_people_look(rig: Rig, systemd: Systemd) -> None:
    """In health, in the log and in systemd's status; a modem has no port number."""
    rig.bridge.wrap = ["env", *(f"{name}={value}" for name, value in systemd.environment.items())]
    rig.start()
    rig.modem.tell("sms_errors", codes=[300] * 100)
    rig.send("hello", "m1")
    systemd.wait("; modem down (+CMS ERROR: 300 (modem failure))")
    (modem,) = rig.client.wait_health("degraded")["destinations"]
    assert (modem["channel"], modem["to"], modem["condition"]) == ("sms", "modem", "down")
    assert "WARNING:bridge:modem: +CMS ERROR: 300 (modem failure)" in rig.bridge.said()


def test_texts_wait_for_a_network(rig: Rig) -> None:
    """Without registration a text stays in the outbox, without an attempt, and goes when there is one."""
    rig.start()
    rig.modem.tell("registration", stat=2)
    status = "hologram/network/status"
    rig.client.wait_for(lambda: rig.client.state(status)["registration"] == "searching", 10, "it searches")
    rig.send("patience", "waits")
    rig.client.wait_for(lambda: rig.client.events("message.queued"))
    rig.modem.tell("registration", stat=5)
    result = rig.client.wait_result("waits", 30)
    assert result["state"] == "delivered"
    assert [each["text"] for each in rig.modem.sms] == ["patience"]


def test_status_reports_are_events_about_their_message(rig: Rig) -> None:
    """What became of a text is told by its id, over a restart too; it is no text that came in."""
    rig.start(status_reports=True)
    rig.send("hello", "m1")
    event = rig.client.wait_for(lambda: rig.client.events("sms.report"), 10)[0]
    assert (event["id"], event["to"], event["state"]) == ("m1", "+15551234567", "delivered")
    rig.modem.tell("reports", status=0x43)
    rig.send("b" * 200, "m2")
    reports = rig.client.wait_for(
        lambda: [each for each in rig.client.events("sms.report") if each["id"] == "m2"][1:], 10
    )
    assert (reports[0]["state"], reports[0]["status"]) == ("failed", "failed for good: not obtainable")
    eventually(rig.emptied, 10, what="no report is left on the modem")
    assert all(each["report"] for each in rig.modem.sms)
    assert rig.received() == {}


def test_status_reports_are_asked_for_from_a_reload_on(rig: Rig) -> None:
    """The modem hands them over without a restart; switched off again, none is asked for."""
    rig.start()
    rig.send("without", "m1")
    rig.client.wait_result("m1", 20)
    rig.bridge.configure(sms={"status_reports": True})
    rig.bridge.reload()
    rig.send("with", "m2")
    event = rig.client.wait_for(lambda: rig.client.events("sms.report"), 10)[0]
    assert (event["id"], event["state"]) == ("m2", "delivered")
    rig.bridge.configure(sms={"status_reports": False})
    rig.bridge.reload()
    rig.send("without again", "m3")
    rig.client.wait_result("m3", 20)
    assert [each["report"] for each in rig.modem.sms] == [False, True, False]
    assert "wait for a restart" not in rig.bridge.said()


def test_a_full_store_is_emptied_and_health_says_so(rig: Rig) -> None:
    """What came while the bridge was away fills the store; it comes, and what the network held back."""
    rig.modem.start("--registration", "0", "--boot", "0.1", "--sim-delay", "0", "--store", "5")
    rig.modem.wait_registered()
    texts = [f"text {number}" for number in range(20)]
    rig.receive(*(pdu for text in texts for pdu in air.parts(FROM, text, AT, reference=0, wide=False)))
    assert rig.modem.state()["sms"]["stored"] == 5
    rig.bridge.start()
    assert Counter(rig.wait_received(20)) == Counter(texts)
    rig.client.wait_for(lambda: "was full (5 of 5)" in json.dumps(rig.client.health()), 10, "health says so")


def test_texts_outlast_kills_of_the_bridge(rig: Rig) -> None:
    """Killed again and again while they come, the bridge has every text in the end, and each has one id."""
    chance = random.Random(9)
    texts = bodies(30, chance)
    rig.start("--store", "10", "--answer", "0.003")
    pdus = arriving(texts, chance)
    for kill in range(2):
        rig.receive(*pdus[kill::2])
        wanted = 10 + 20 * kill
        eventually(partial(rig.has_received, wanted), 20)
        rig.bridge.kill()
        rig.bridge.start()
    assert Counter(rig.wait_received(30, 40)) == Counter(texts)


def test_a_text_under_way_at_a_kill_is_unconfirmed_and_not_sent_again(rig: Rig) -> None:
    """The bridge died after it had begun: whether or not the text went out, it does not go again."""
    rig.bridge.configure(log={"level": "debug"})
    rig.start()
    rig.modem.tell("fault", name="slow", number=0.5)
    rig.send("once", "m1")
    eventually(lambda: "> AT+CMGS=" in rig.bridge.said(), 20, what="the modem is asked for it")
    rig.bridge.kill()
    rig.modem.tell("clear")
    rig.send("next", "m2")
    rig.bridge.start()
    assert rig.client.wait_result("m1")["state"] == "unconfirmed"
    assert rig.client.wait_result("m2", 30)["state"] == "delivered"
    assert [each["text"] for each in rig.modem.sms] == ["next"]


def test_the_end_of_another_command_does_not_send_a_text_twice(rig: Rig) -> None:
    """A USSD session that ends by an error while a text is on its way leaves the text in doubt."""
    rig.start()
    rig.modem.tell("fault", name="sms-foreign", number=1)
    rig.send("once", "m1")
    rig.send("next", "m2")
    assert rig.client.wait_result("m1", 30)["state"] == "unconfirmed"
    assert rig.client.wait_result("m2", 30)["state"] == "delivered"
    assert [each["text"] for each in rig.modem.sms] == ["once", "next"]


def test_a_success_without_a_reference_is_unconfirmed(rig: Rig) -> None:
    """Some modems end a text that failed with OK; whether it went out nobody can tell."""
    rig.start()
    rig.modem.tell("fault", name="sms-bare-ok", number=1)
    rig.send("lost", "m1")
    result = rig.client.wait_result("m1", 30)
    assert (result["state"], "without +CMGS" in result["description"]) == ("unconfirmed", True)
    rig.send("next", "m2")
    assert rig.client.wait_result("m2", 30)["state"] == "delivered"
    assert [each["text"] for each in rig.modem.sms] == ["next"]


def test_an_ok_in_the_place_of_the_prompt_is_nobodys(rig: Rig) -> None:
    """Nothing was handed over: the text is tried again, and goes out once."""
    rig.start()
    rig.modem.tell("fault", name="sms-early-ok", number=2)
    rig.send("a" * 200, "m1")
    result = rig.client.wait_result("m1", 40)
    assert (result["state"], result["attempts"]) == ("delivered", 3)
    assert rig.sent() == {"+15551234567": ["a" * 200]}
