"""A clock that jumps by years while the bridge runs: libfaketime steps the wall clock and no other."""

import calendar
import json
import time
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud

LIBRARY = "faketime/libfaketimeMT.so.1"

YEAR_1970, YEAR_2040 = 86400.0, 2_208_988_800.0
"""Unix seconds."""

ICCID, IMSI = "8944501104169548380", "234507094543380"


class WallClock:
    """The wall clock of the processes that are started with it."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib").glob(f"*/{LIBRARY}"))
        assert found, "libfaketime is not installed; make setup installs it"
        self._file = folder / "time"
        self.environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
        }
        self.set(None)

    def set(self, wall: float | None) -> None:
        """Step to ``wall`` in Unix seconds, from where it goes on; None: to the right time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{0 if wall is None else wall - time.time():+.0f}\n")
        new.rename(self._file)  # it is read at any moment


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


def waiting(bridge: BridgeProcess) -> set[str]:
    """Return the ids that wait in the outbox."""
    return {each["id"] for each in bridge.queue("list")["messages"]}


def queued_at(bridge: BridgeProcess, name: str) -> float:
    """Return when a message came, as the bridge dates it."""
    (found,) = (each["queued_at"] for each in bridge.queue("list")["messages"] if each["id"] == name)
    return float(found)


def test_deadlines_and_retries_stand_jumps_by_years(
    bridge: BridgeProcess, cloud: Cloud, client: Client, wall: WallClock
) -> None:
    """To 1970, to 2040, over a crash and back: what has time left is kept and sent, what has none expires."""
    bridge.start(env=wall.environment)

    def put(name: str, expires: str | None = None) -> None:
        user = {"id": name} | ({"expires": expires} if expires else {})
        client.publish(f"hologram/out/{name}", name, user=user)
        client.wait_for(lambda: any(each["id"] == name for each in client.events("message.queued")))

    put("now-hour", "1h")
    put("now-ever")
    put("now-short", "4s")
    wall.set(YEAR_1970)
    put("1970-hour", "1h")
    put("1970-ever")
    assert abs(bridge_time(bridge) - YEAR_1970) < 60
    wall.set(YEAR_2040)
    put("2040-hour", "1h")
    assert abs(bridge_time(bridge) - YEAR_2040) < 60
    assert client.wait_result("now-short", 15)["state"] == "expired"
    rest = {"now-hour", "now-ever", "1970-hour", "1970-ever", "2040-hour"}
    assert waiting(bridge) == rest
    for year in (YEAR_2040, YEAR_1970):  # the same boot of the machine
        bridge.kill()
        wall.set(year)
        bridge.start(env=wall.environment)
        assert waiting(bridge) == rest
        assert abs(queued_at(bridge, "now-hour") - year) < 60
    wall.set(None)
    cloud.start()
    for name in rest:
        assert client.wait_result(name, 40)["state"] == "delivered"
    assert sorted(cloud.payloads()) == sorted(name.encode() for name in rest)
    # A result may be published again after a kill.
    assert {each["id"] for each in client.results() if each["state"] != "delivered"} == {"now-short"}
    assert bridge.stop() == 0


def test_readings_that_came_before_the_time_was_known_have_the_right_time(
    bridge: BridgeProcess, cloud: Cloud, client: Client, wall: WallClock
) -> None:
    """They wait, over a crash too, until the clock is set, and are then dated to the second."""
    bridge.configure(routes=[{"match": "s/#", "stamp": "at"}])
    cloud.start()
    wall.set(YEAR_1970)
    bridge.start(env=wall.environment)
    sent: dict[str, tuple[float, float]] = {}

    def put(name: str) -> None:
        before = time.time()
        client.publish(f"hologram/out/s/{name}", f'{{"n":"{name}"}}', user={"id": name})
        client.wait_for(lambda: any(each["id"] == name for each in client.events("message.queued")))
        sent[name] = (before, time.time())

    put("first")
    put("second")
    client.publish("hologram/out/plain", b"{}", user={"id": "plain"})
    assert client.wait_result("plain")["state"] == "delivered"
    bridge.kill()
    bridge.start(env=wall.environment)
    put("third")
    assert waiting(bridge) == set(sent)
    wall.set(None)
    for name in sent:
        assert client.wait_result(name, 20)["state"] == "delivered"
    put("fourth")
    assert client.wait_result("fourth", 20)["state"] == "delivered"
    arrived = [json.loads(each) for each in cloud.payloads() if each != b"{}"]
    assert {each["n"] for each in arrived} == set(sent)
    for each in arrived:
        before, after = sent[each["n"]]
        assert int(before) <= each["at"] <= after, each
    assert bridge.stop() == 0


def bridge_time(bridge: BridgeProcess) -> float:
    """Return what the bridge takes for the time, in Unix seconds."""
    at = str(bridge.queue("stats")["at"])
    return calendar.timegm(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S"))


def totp(bridge: BridgeProcess) -> None:
    bridge.settings["credentials"] = {"device_id": ICCID, "private_key": IMSI}
    bridge.configure(cloud={"auth": "totp"})


def start_cloud(cloud: Cloud) -> None:
    cloud.start("--device-id", ICCID, "--private-key", IMSI)


def test_time_based_codes_follow_the_clock(
    bridge: BridgeProcess, cloud: Cloud, client: Client, wall: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud and bridge agree on the time, whichever it is: each message's code is right at once."""
    totp(bridge)
    with monkeypatch.context() as context:
        for name, value in wall.environment.items():
            context.setenv(name, value)
        start_cloud(cloud)
    bridge.start(env=wall.environment)
    for number, year in enumerate((None, YEAR_1970, YEAR_2040, None)):
        wall.set(year)
        client.publish("hologram/out/a", str(number), user={"id": f"m{number}"})
        result = client.wait_result(f"m{number}")
        assert (result["state"], result["attempts"]) == ("delivered", 1)


@pytest.mark.slow
def test_codes_of_a_box_that_has_no_time_yet_are_tried_again_once_it_has(
    bridge: BridgeProcess, cloud: Cloud, client: Client, wall: WallClock
) -> None:
    """Booted in 1970 its codes are refused and nothing is lost; the clock is set, and they are right."""
    totp(bridge)
    start_cloud(cloud)
    wall.set(YEAR_1970)
    bridge.start(env=wall.environment)
    client.publish("hologram/out/a", "early", user={"id": "early", "expires": "1h"})
    client.wait_for(lambda: client.events("cloud.auth_failed"), what="the code is refused")
    assert waiting(bridge) == {"early"}
    wall.set(None)
    # The clock is looked at every 30 s; the channel would be held for 300.
    result = client.wait_result("early", 60)
    assert (result["state"], result["attempts"]) == ("delivered", 1)
    assert "the clock stepped" in bridge.said()
