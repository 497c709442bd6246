"""The bridge with a modem: status, link, faults and recovery, through real ptys of the simulated modem."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.batch import decode
from bridge.flow.message.controls import MAX_IN_FLIGHT
from tests.harness import BridgeProcess, Client, Cloud, Keeper
from tests.harness.cable import Cable
from tests.harness.modem import SimModem
from tests.harness.process import eventually, free_port

STATUS = "hologram/network/status"
WITH_SOCKETS = ("iota", "nova-u201", "nova-r410", "bg96", "ec21")
PPP_ONLY = ("e303", "ms2131")


class Rig:
    """A broker, a cloud, a modem and a bridge that manages it."""

    def __init__(
        self, keeper: Keeper, folder: Path, bridge: BridgeProcess, cloud: Cloud, client: Client
    ) -> None:
        self.keeper = keeper
        self._folder = folder
        self.bridge = bridge
        self.cloud = cloud
        self.client = client
        self.cloud_options: tuple[str, ...] = ()
        self.modem: SimModem

    def start(
        self, profile: str, *options: str, online: bool = True, modem: bool = True, **network: Any
    ) -> None:
        """Start all of it."""
        self.modem = SimModem(self.keeper, self._folder / "modem", profile)
        self.bridge.configure(
            network={
                "interface": f"cellular-{profile}",
                "device": [str(self.modem.at), str(self.modem.dial)],
                "poll": 1,
                **network,
            }
        )
        self.cloud.start(*self.cloud_options)
        if modem:
            self.modem.start("--registration", "0.3", "--boot", "0.3", *options)
        self.bridge.start()
        if online:
            self.wait("state", "connected")

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.state(STATUS)
        return found

    def wait(self, key: str, value: object, timeout: float = 30.0) -> dict[str, Any]:
        """Wait until the status says ``value`` under ``key``; return it."""
        self.client.wait_for(
            lambda: self.status.get(key) == value, timeout, what=f"{key} {value}; it is {self.status}"
        )
        return self.status

    def order(self, command: str, **keys: Any) -> dict[str, Any]:
        """Give a command about the network; return its result."""
        number = len(self.client.results()) + 1
        name = f"order-{number}"
        self.client.publish(
            "hologram/network/set", json.dumps({"command": command, "id": name, **keys}), qos=1
        )
        return self.client.wait_result(name, 60)


@pytest.fixture
def rig(keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, cloud: Cloud, client: Client) -> Rig:
    """All of it, not started yet."""
    return Rig(keeper, tmp_path, bridge, cloud, client)


@pytest.mark.parametrize("profile", WITH_SOCKETS)
def test_messages_flow_over_the_modems_own_sockets(rig: Rig, profile: str) -> None:
    """Without PPP a modem with sockets carries messages by them; who and where it is stands in the status."""
    who = {"imei": "356938035643809", "imsi": "234507094543380", "iccid": "8944501104169548380"}
    rig.start(profile, *(word for key, value in who.items() for word in (f"--{key}", value)))
    rig.client.publish("hologram/out/field/7", "21.5", qos=1)
    (result,) = rig.client.wait_results(1)
    assert (result["state"], result["attempts"]) == ("delivered", 1)
    assert result["bytes_up"] > 4
    assert [(each.payload, each.topics) for each in rig.cloud.accepted] == [(b"21.5", ("field/7",))]
    status = rig.status
    assert {key: status[key] for key in who} == who
    assert status["code_name"] == "CLOUD_CONNECTED"
    assert status["registration"] == "roaming"
    assert status["operator"]
    assert status["technology"] in ("2G", "3G", "LTE", "LTE-M", "NB-IoT")
    assert status["local_ip"]
    assert rig.client.events("network.connected")
    assert rig.client.events("cellular.connected")


@pytest.mark.parametrize("profile", PPP_ONLY)
def test_a_modem_without_sockets_needs_ppp_and_says_so(rig: Rig, profile: str) -> None:
    """Where no PPP can be had the status says why, with code 12, and the message waits without an attempt."""
    if Path("/dev/ppp").exists():
        rig.start(profile, "--fault", "no-carrier", online=False)
    else:
        rig.start(profile, online=False)
    status = rig.wait("state", "error")
    assert (status["code"], status["code_name"]) == (12, "CLOUD_ERR_CONNECT")
    assert status["error"]
    rig.client.publish("hologram/out/a", "x", qos=1)
    rig.client.wait_for(lambda: rig.client.events("message.queued"), what="it is queued")
    (listed,) = rig.bridge.queue("list")["messages"]
    assert listed["attempts"] == 0


def test_the_status_follows_what_the_modem_announces(rig: Rig) -> None:
    """Registration and SIM are told within a second of their change, signal within the poll."""
    rig.start("nova-u201", poll=2)
    rig.modem.tell("registration", stat=2)
    rig.wait("registration", "searching", 1.0)
    rig.modem.tell("registration", stat=1)
    rig.wait("registration", "home", 1.0)
    rig.modem.tell("signal", rssi=31)
    rig.client.wait_for(
        lambda: rig.status["signal"] == {"rssi_dbm": -51, "percent": 100, "ber": None}, 3.0, "full signal"
    )
    rig.modem.tell("signal", rssi=99)
    rig.client.wait_for(lambda: rig.status["signal"]["rssi_dbm"] is None, 3.0, "no signal is known")
    rig.modem.tell("sim", state="absent")
    status = rig.wait("code", 3, 1.0)
    assert (status["state"], status["code_name"]) == ("error", "CLOUD_ERR_SIM")
    assert "SIM" in status["error"]
    rig.modem.tell("sim", state="ready")
    rig.wait("state", "connected")


def test_a_denied_registration_is_code_5_and_a_wish_waits_for_it(rig: Rig) -> None:
    """The network denies: error 5. When it takes the SIM after all the link comes up by itself."""
    rig.start("bg96", "--fault", "denied", online=False)
    status = rig.wait("code", 5)
    assert (status["state"], status["registration"]) == ("error", "denied")
    rig.modem.tell("clear")
    rig.wait("state", "connected")


def test_a_sim_with_a_pin(rig: Rig) -> None:
    """The configured PIN opens the SIM; a wrong one is told and entered once, however often it starts."""
    rig.start("ec21", "--pin", "1234", sim_pin="1234")
    rig.bridge.stop()
    rig.modem.stop()
    rig.bridge.configure(network={"sim_pin": "9999"})
    rig.modem.start("--registration", "0.3", "--pin", "1234")
    rig.bridge.start()
    status = rig.wait("code", 3)
    assert "sim_pin" in status["error"]
    assert "9999" not in rig.bridge.said()
    for _ in range(2):
        rig.bridge.stop()
        rig.bridge.start()
        rig.wait("code", 3)
    assert rig.modem.state()["pin_tries"] == 2


def test_commands_about_the_network(rig: Rig) -> None:
    """Connect, disconnect, reconnect, reset and the radio do what they say, each with its result."""
    rig.start("nova-u201")
    assert rig.order("connect")["state"] == "done"
    assert rig.order("disconnect")["state"] == "done"
    assert (rig.wait("state", "disconnected")["code"], rig.status["local_ip"]) == (0, None)
    rig.client.publish("hologram/out/a", "waits", qos=1)
    rig.client.wait_for(lambda: rig.client.events("message.queued"), what="it is queued")
    assert rig.order("connect")["state"] == "done"
    rig.client.wait_for(lambda: rig.client.results()[-1]["channel"] == "cloud", what="it is delivered")
    assert rig.client.results()[-1]["attempts"] == 1
    assert rig.order("reconnect")["state"] == "done"
    assert rig.order("radio_off")["state"] == "done"
    rig.wait("state", "disconnected")
    refused = rig.order("connect")
    assert refused["state"] == "failed"
    assert "radio_on" in refused["description"]
    assert rig.order("radio_on")["state"] == "done"
    rig.wait("state", "connected")
    assert rig.order("reset")["state"] == "done"
    rig.wait("state", "connected")
    assert rig.modem.events("restart")


def test_commands_at_once(rig: Rig) -> None:
    """However commands overlap each gets its one result, and no message is lost or counted an attempt."""
    rig.start("nova-u201")
    commands = ["disconnect", "connect", "reset", "reconnect", "radio_off", "radio_on", "connect"]
    for number, command in enumerate(commands):
        order = json.dumps({"command": command, "id": f"at-once-{number}", "timeout": 20})
        rig.client.publish("hologram/network/set", order, qos=1)
    rig.client.publish("hologram/out/a", "x", qos=1)
    for number in range(len(commands)):
        assert rig.client.wait_result(f"at-once-{number}", 30)["state"] in ("done", "failed")
    rig.order("radio_on")
    assert rig.order("connect")["state"] == "done"
    rig.client.wait_for(lambda: rig.cloud.payloads() == [b"x"], 10, "the message arrives")
    rig.client.wait_for(lambda: len(rig.client.results()) == len(commands) + 3, 5, "a result each")
    assert rig.wait("state", "connected")["error"] is None


def test_a_reset_that_takes_the_broker_away_is_done_once(rig: Rig) -> None:
    """Its acknowledgement is lost, and the line to the broker breaks meanwhile: one restart, one result."""
    cable = Cable(rig.keeper, rig.bridge.broker.port)
    rig.bridge.configure(mqtt={"port": cable.port})
    rig.start("nova-u201", "--boot", "1")
    cable.swallow("near")
    rig.client.publish("hologram/network/set", "reset", qos=1)
    eventually(lambda: rig.modem.events("restart"), 30, what="the modem restarts")
    cable.cut()
    (result,) = rig.client.wait_results(1, 60)
    assert (result["channel"], result["state"]) == ("network", "done")
    assert rig.order("connect")["state"] == "done"
    assert len(rig.modem.events("restart")) == 1
    assert len({each["id"] for each in rig.client.results()}) == 2


def test_a_command_that_a_crash_interrupts_has_failed_and_is_not_repeated(rig: Rig) -> None:
    """Killed in the middle of a reset the bridge says so when it is back; the modem restarts only once."""
    rig.start("nova-u201", "--boot", "1")
    order = '{"command": "reset", "id": "reset"}'
    rig.client.publish("hologram/network/set", order, properties={"ResponseTopic": "reply/reset"})
    eventually(lambda: rig.modem.events("restart"), 30, what="the modem restarts")
    rig.bridge.kill()
    rig.bridge.start()
    result = rig.client.wait_result("reset", 30)
    assert (result["channel"], result["state"]) == ("network", "failed")
    assert result["description"] == "the bridge stopped meanwhile"
    assert rig.client.wait_last("reply/reset").json() == result
    rig.client.publish("hologram/network/set", order)
    rig.client.wait_for(lambda: len(rig.client.results("reset")) == 2, what="the same result again")
    assert rig.client.results("reset") == [result] * 2
    assert rig.order("connect")["state"] == "done"
    assert len(rig.modem.events("restart")) == 1


def test_an_order_whose_deadline_passes_while_it_waits_is_not_given(rig: Rig) -> None:
    """A reset goes first and takes its time: the order behind it ends as ``expired``, the radio stays on."""
    rig.start("nova-u201", "--boot", "6", online=False)
    rig.wait("registration", "roaming")
    rig.client.publish("hologram/network/set", "reset", properties={"MessageExpiryInterval": 4})
    late = '{"command": "radio_off", "id": "late"}'
    rig.client.publish("hologram/network/set", late, properties={"MessageExpiryInterval": 2})
    result = rig.client.wait_result("late", 30)
    assert (result["channel"], result["state"]) == ("network", "expired")
    rig.client.wait_for(lambda: len(rig.client.results()) == 2, 60, what="the reset has ended")
    assert rig.client.results()[1]["state"] == "done", "it had begun in time"
    assert rig.order("connect")["state"] == "done", "the radio is on"


def test_connect_waits_until_its_deadline_at_most(rig: Rig) -> None:
    """No network yet: ``expired`` after a second, not after the four minutes that a command may take."""
    rig.start("nova-u201", "--registration", "3600", online=False, autoconnect=False)
    rig.wait("registration", "searching")
    began = time.monotonic()
    order = '{"command": "connect", "id": "connect"}'
    rig.client.publish("hologram/network/set", order, properties={"MessageExpiryInterval": 1})
    result = rig.client.wait_result("connect", 60)
    assert (result["state"], "deadline" in result["description"]) == ("expired", True)
    assert time.monotonic() - began < 60


def test_commands_that_wait_keep_no_others_from_coming(rig: Rig) -> None:
    """More wait than a broker delivers unacknowledged; what is too much fails, and each has one result."""
    rig.start("nova-u201", "--registration", "3600", online=False, autoconnect=False)
    for _ in range(MAX_IN_FLIGHT):
        rig.client.publish("hologram/network/set", "connect", qos=1)
    rig.client.publish("hologram/queue/set", '{"command": "pause", "id": "pause"}', qos=1)
    assert rig.client.wait_result("pause", 30)["state"] == "done"
    refused = rig.order("connect")
    assert (refused["state"], "in flight already" in refused["description"]) == ("failed", True)
    assert rig.bridge.stop() == 0
    rig.client.wait_results(MAX_IN_FLIGHT + 2, 30)
    ended = {each["id"]: each["description"] for each in rig.client.results()}
    assert list(ended.values()).count("the bridge stopped meanwhile") == MAX_IN_FLIGHT
    assert len(ended) == MAX_IN_FLIGHT + 2


def test_messages_of_the_other_scope_never_take_the_modem(rig: Rig) -> None:
    """With scope hologram they take the machine's network: without a modem, and past its sockets."""
    rig.bridge.configure(log={"level": "debug"})
    rig.start("bg96", online=False, modem=False, scope="hologram")
    rig.client.publish("hologram/out/a", "without", qos=1)
    assert rig.client.wait_results(1)[0]["state"] == "delivered"
    rig.modem.start("--registration", "0.3")
    rig.wait("state", "connected")
    rig.client.publish("hologram/out/a", "past", qos=1)
    assert rig.client.wait_results(2)[-1]["state"] == "delivered"
    assert "AT+QIOPEN" not in rig.bridge.said()


def test_a_stop_ends_in_seconds_and_is_told(rig: Rig) -> None:
    """The link is down, the port free, and the status says so."""
    rig.start("nova-u201")
    began = time.monotonic()
    assert rig.bridge.stop() == 0
    assert time.monotonic() - began < 8
    rig.wait("state", "disconnected", 1.0)
    assert rig.bridge.run("modem", "signal").returncode == 0


@pytest.mark.parametrize("profile", ["nova-u201", "bg96"])
@pytest.mark.parametrize(
    "fault", ["echo", "garbage", "interleave", "slow:0.3", "reset:0.5", "vanish:0.5", "sim-busy:1"]
)
def test_every_fault_ends_in_a_link(rig: Rig, profile: str, fault: str) -> None:
    """With each fault a message still arrives, once."""
    rig.start(profile)
    before = len(rig.client.events("network.connected"))
    rig.modem.tell("fault", name=fault.partition(":")[0], **_number(fault))
    if fault.startswith(("reset", "vanish")):
        rig.client.wait_for(
            lambda: len(rig.client.events("network.connected")) > before, 40, "the link is back"
        )
    rig.client.publish("hologram/out/after", fault, qos=1)
    rig.client.wait_for(
        lambda: any(each["state"] == "delivered" for each in rig.client.results()), 40, "it is delivered"
    )
    assert rig.cloud.payloads() == [fault.encode()]


def _number(fault: str) -> dict[str, float]:
    _, _, number = fault.partition(":")
    return {"number": float(number)} if number else {}


def test_a_modem_that_comes_later_is_waited_for(rig: Rig) -> None:
    """A bridge without its modem says so, and is up as soon as the modem is there."""
    rig.start("nova-u201", online=False, modem=False)
    status = rig.wait("state", "error")
    assert (status["code"], status["device"]) == (12, None)
    assert "no modem" in status["error"]
    rig.modem.start("--registration", "0.3")
    rig.wait("state", "connected")
    assert not rig.client.events("modem.recovery")


def test_a_port_that_another_program_has_is_waited_for(rig: Rig) -> None:
    """Who has it stands in the status, and nothing is done to the modem; it is up once the port is free."""
    rig.start("nova-u201")
    rig.bridge.stop()
    script = "import serial, sys; port = serial.Serial(sys.argv[1], exclusive=True); print('open'); input()"
    with subprocess.Popen(
        [sys.executable, "-uc", script, str(rig.modem.at)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        rig.bridge.start()
        named = f"(process {holder.pid}) uses it"
        rig.client.wait_for(lambda: named in (rig.status["error"] or ""), what=f"{named}: {rig.status}")
        holder.kill()
    rig.wait("state", "connected")
    assert not rig.client.events("modem.recovery")


def test_inbound_over_the_modems_sockets(rig: Rig) -> None:
    """What the cloud sends to port 4010 of the modem comes out on hologram/in."""
    rig.bridge.configure(inbound={"enabled": True, "host": "127.0.0.1", "port": 4010})
    port = free_port()
    rig.start("ec21", "--inbound-port", str(port))
    eventually(lambda: rig.modem.state()["listening"].get("4010"), 10, what="the modem listens")
    with socket.create_connection(("127.0.0.1", port)) as sender:
        sender.sendall(b"\x00hello")
    message = rig.client.wait_last("hologram/in")
    assert message.payload == b"\x00hello"


def test_texts_both_ways(rig: Rig) -> None:
    """A text over the air needs no link, and one that comes in is published and taken off the modem."""
    rig.bridge.configure(sms={"via": "modem", "max_segments": 9})
    rig.start("e303", online=False)
    rig.wait("registration", "roaming")
    text = "é€😀" * 98
    rig.client.publish("hologram/sms/15551234567", text, qos=1)
    (result,) = rig.client.wait_results(1)
    assert (result["state"], result["to"]) == ("delivered", "+15551234567")
    assert len(rig.modem.sms) == 6
    rig.modem.tell("sms", from_="+15557654321", text=text, shuffle=True)
    message = rig.client.wait_last("hologram/in/sms").json()
    assert (message["from"], message["body"], message["parts"]) == ("+15557654321", text, 6)
    eventually(lambda: rig.modem.state()["sms"]["stored"] == 0, 10, what="nothing is left on the modem")


def test_credentials_from_the_sim(rig: Rig) -> None:
    """With TOTP and no credentials given, the SIM's number and IMSI are the credentials."""
    iccid, imsi = "8944500102198304826", "234500012345678"
    rig.bridge.settings["credentials"] = {}
    rig.bridge.configure(cloud={"auth": "totp"})
    rig.cloud_options = ("--device-id", iccid, "--private-key", imsi)
    rig.start("nova-u201", "--iccid", iccid, "--imsi", imsi)
    rig.client.publish("hologram/out/a", b"\xff\xfe", qos=1)
    (result,) = rig.client.wait_results(1)
    assert result["state"] == "delivered"
    assert rig.cloud.payloads() == [b"\xff\xfe"]


def test_on_demand(rig: Rig) -> None:
    """On demand nothing is dialled until there is something to send."""
    rig.start("nova-u201", online=False, autoconnect="on_demand")
    rig.wait("registration", "roaming")
    rig.wait("state", "disconnected")
    rig.client.publish("hologram/out/a", "x", qos=1)
    assert rig.client.wait_results(1)[0]["state"] == "delivered"
    assert rig.status["state"] == "connected"


def test_on_demand_a_paused_outbox_dials_nothing(rig: Rig) -> None:
    """What may not be sent is no reason for a link; as soon as sending goes on, it is."""
    rig.start("nova-u201", online=False, autoconnect="on_demand")
    rig.wait("registration", "roaming")
    rig.client.publish("hologram/queue/set", '{"command": "pause", "id": "pause"}', qos=1)
    rig.client.wait_result("pause")
    rig.client.publish("hologram/out/a", "x", qos=1)
    rig.client.wait_for(lambda: rig.client.events("message.queued"), what="it is queued")
    told = len(rig.client.messages(STATUS))
    rig.client.wait_for(lambda: len(rig.client.messages(STATUS)) >= told + 3, what="time goes by")
    assert {each["state"] for each in rig.client.json(STATUS)[told:]} == {"disconnected"}
    assert not rig.client.events("network.connected")
    rig.client.publish("hologram/queue/set", "resume", qos=1)
    rig.client.wait_for(lambda: rig.cloud.payloads() == [b"x"], 15, "it arrives")


def test_on_demand_what_waits_for_its_batch_dials_nothing(rig: Rig) -> None:
    """It goes along once another message has brought the link up, and waits for its batch again."""
    rig.bridge.configure(routes=[{"match": "s/#", "batch": {"every": "1h"}}])
    rig.start("nova-u201", online=False, autoconnect="on_demand")
    rig.wait("registration", "roaming")
    for number in range(3):
        rig.client.publish(f"hologram/out/s/{number}", str(number), qos=1)
    rig.client.wait_for(lambda: len(rig.client.events("message.queued")) == 3, what="they are queued")
    told = len(rig.client.messages(STATUS))
    rig.client.wait_for(lambda: len(rig.client.messages(STATUS)) >= told + 3, what="time goes by")
    assert not rig.client.events("network.connected")
    rig.client.publish("hologram/out/a", "x", qos=1)
    rig.client.wait_results(4, 30)
    batch = next(each for each in rig.cloud.accepted if each.topics == ("batch",))
    assert [reading.payload for reading in decode(batch.payload).readings] == [b"0", b"1", b"2"]
    rig.client.publish("hologram/out/s/late", "late", qos=1)
    told = len(rig.client.messages(STATUS))
    rig.client.wait_for(lambda: len(rig.client.messages(STATUS)) >= told + 3, what="time goes by")
    assert len(rig.client.results()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "hang-port", "hang-reset"])
def test_a_hung_modem_under_load(rig: Rig, fault: str) -> None:
    """A modem that no longer answers is got back by the ladder, and no message is lost meanwhile."""
    rig.bridge.configure(inbound={"enabled": False})
    rig.start("nova-u201")
    for number in range(60):
        rig.client.publish(f"hologram/out/load/{number % 4}", str(number), qos=1)
    rig.client.wait_results(5, 30)
    rig.modem.tell("fault", name=fault)
    hung_at = time.monotonic()
    rig.client.wait_for(
        lambda: any(event["worked"] for event in rig.client.events("modem.recovery")), 300, "it is recovered"
    )
    print(f"{fault}: recovered after {time.monotonic() - hung_at:.0f} s")
    rig.client.wait_results(60, 120)
    assert {each["state"] for each in rig.client.results()} == {"delivered"}
    assert {each.payload for each in rig.cloud.accepted} == {str(number).encode() for number in range(60)}
    assert rig.wait("state", "connected")["error"] is None
