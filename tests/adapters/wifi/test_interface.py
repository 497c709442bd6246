"""Wi-Fi through programs that say what real ones do; real radios are in `tests.box.test_wifi`."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.wifi.interface import Wifi, wireless
from bridge.adapters.wifi.managers import Programs
from bridge.core.link import Code
from bridge.core.modem import Link
from bridge.core.modem import Wifi as Known
from bridge.errors import LinkError
from tests.doubles.fake_wifi import ADDRESS, AP, OTHER_AP, System

MANAGERS = ["NetworkManager", "wpa_supplicant"]
LOST = "lo (phy #0): disconnected (by AP) reason: 4: Disassociated due to inactivity"


class Rig:
    """A `Wifi` and what it told."""

    def __init__(self, system: System, device: str | None, again: float) -> None:
        self.downs: list[str] = []
        self.changes: list[Known] = []
        self.wifi = Wifi(
            asyncio.get_running_loop(),
            device=device,
            on_down=self.downs.append,
            on_change=lambda: self.changes.append(self.wifi.wifi),
            path=system.path,
            sys=system.sys,
            again=again,
        )

    @staticmethod
    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def rigged(system: System, device: str | None = None, again: float = 5.0) -> AsyncIterator[Rig]:
    rig = Rig(system, device, again)
    try:
        yield rig
    finally:
        await rig.wifi.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(bounded())


async def refused(attempt: Awaitable[object]) -> str:
    """Return why it was refused: one line."""
    with pytest.raises(LinkError) as caught:
        await attempt
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("manager", MANAGERS)
def test_connects_and_disconnects(tmp_path: Path, manager: str) -> None:
    """Whoever looks after the interface is told, once; link, SSID, access point and signal are reported."""
    system = System(tmp_path, manager)

    async def scenario() -> None:
        async with rigged(system) as rig:
            assert await rig.wifi.connect(5) == Link("lo", ADDRESS)
            assert await rig.wifi.connect(5) == rig.wifi.link
            assert rig.wifi.wifi == Known("home", AP, -50, -50)
            await rig.wifi.disconnect()
            assert rig.wifi.link is None
            assert rig.wifi.wifi == Known()
            assert await rig.wifi.reconnect(5) == Link("lo", ADDRESS)
            system.event("lo (phy #0): disconnected (local request)")  # of the disconnect before
            system.event("lo (phy #0): connected to " + AP)
            await rig.until(lambda: rig.changes)
            assert rig.downs == []
        assert [order for order in system.orders if order == "connect"] == ["connect"] * 2

    run(scenario())


def test_a_connection_that_stands_already_is_taken_as_it_is(tmp_path: Path) -> None:
    """The system's own autoconnect was faster: nothing is ordered, nothing interrupted."""
    system = System(tmp_path)
    system.says("device", "GENERAL.STATE:100 (connected)\nGENERAL.REASON:0 (No reason given)\n")
    system.air(now=True)

    async def scenario() -> None:
        async with rigged(system) as rig:
            assert await rig.wifi.connect(5) == Link("lo", ADDRESS)
        assert system.orders == []

    run(scenario())


def test_a_look_changes_nothing(tmp_path: Path) -> None:
    """What the system is connected to can be asked without connecting or taking the connection over."""
    system = System(tmp_path)

    async def scenario() -> None:
        async with rigged(system) as rig:
            assert await rig.wifi.look() == Known()
            system.air(now=True)
            assert await rig.wifi.look() == Known("home", AP, -50, -50)
            assert rig.wifi.link is None
            await rig.wifi.connect(5)
            assert await rig.wifi.look() == Known("home", AP, -50, -50)
        assert system.orders == ["connect"]

    run(scenario())


def test_a_lost_connection_is_told_once_with_the_reason(tmp_path: Path) -> None:
    """The event's reason reaches whoever listens; afterwards nothing is known, and connect works again."""
    system = System(tmp_path)

    async def scenario() -> None:
        async with rigged(system) as rig:
            await rig.wifi.connect(5)
            system.says("link", "Not connected.\n")
            system.says("device", "GENERAL.STATE:30 (disconnected)\n")
            system.event(LOST)
            system.event(LOST)
            await rig.until(lambda: rig.downs)
            assert (rig.wifi.link, rig.wifi.wifi) == (None, Known())
            assert await rig.wifi.sample() == Known()
            await rig.wifi.connect(5)
            assert rig.downs == ["by AP: Disassociated due to inactivity"]

    run(scenario())


def test_a_look_finds_what_no_event_told(tmp_path: Path) -> None:
    """An access point that is gone without an event is noticed with the next sample."""
    system = System(tmp_path)

    async def scenario() -> None:
        async with rigged(system) as rig:
            await rig.wifi.connect(5)
            system.says("link", "Not connected.\n")
            assert await rig.wifi.sample() == Known()
            assert rig.downs == ["the access point is gone"]

    run(scenario())


def test_an_address_without_an_access_point_is_no_connection(tmp_path: Path) -> None:
    """NetworkManager says 'connected' for seconds after the access point went: that is waited out."""
    system = System(tmp_path)
    system.says("device", "GENERAL.STATE:100 (connected)\nGENERAL.REASON:0 (No reason given)\n")

    async def scenario() -> None:
        async with rigged(system) as rig:
            assert "the access point is gone" in await refused(rig.wifi.connect(0.2))
            connecting = asyncio.ensure_future(rig.wifi.connect(5))
            system.air(now=True)
            assert await connecting == Link("lo", ADDRESS)

    run(scenario())


def test_an_interface_that_goes_takes_the_connection_with_it(tmp_path: Path) -> None:
    """A Wi-Fi adapter that is pulled out is a lost connection, and then a trouble that is named."""
    system = System(tmp_path)

    async def scenario() -> None:
        async with rigged(system) as rig:
            await rig.wifi.connect(5)
            assert rig.wifi.fault() is None
            (system.sys / "class/net/lo").rename(tmp_path / "gone")
            system.event("phy #0: delete wiphy")
            await rig.until(lambda: rig.downs)
            assert rig.downs == ["lo is gone"]
            fault = rig.wifi.fault()
            assert fault
            assert (fault.code, fault.text) == (Code.CLOUD_ERR_CONNECT, "there is no Wi-Fi interface")
            await rig.wifi.disconnect()

    run(scenario())


def test_signals_are_averaged_for_each_access_point(tmp_path: Path) -> None:
    """Average and maximum are over the samples; roaming is told, and begins anew."""
    system = System(tmp_path)

    async def scenario() -> None:
        async with rigged(system) as rig:
            await rig.wifi.connect(5)
            for signal in (-60, -70):
                system.air(signal=signal, now=True)
                last = await rig.wifi.sample()
            assert last == Known("home", AP, -60, -50)
            system.air(ap=OTHER_AP, signal=-40, now=True)
            system.event(f"lo (phy #0): roamed to {OTHER_AP}")
            await rig.until(lambda: rig.changes)
            assert rig.changes == [Known("home", OTHER_AP, -40, -40)]
            assert rig.downs == []

    run(scenario())


def test_what_network_manager_says_is_passed_on(tmp_path: Path) -> None:
    """A refusal is one line in its words."""
    system = System(tmp_path)
    system.says(
        "refusal", "Error: Connection activation failed: Secrets were required.\nHint: see the log.\n"
    )

    async def scenario() -> None:
        async with rigged(system) as rig:
            why = await refused(rig.wifi.connect(5))
            assert why == "NetworkManager: Connection activation failed: Secrets were required"

    run(scenario())


def test_looks_for_an_access_point_that_was_not_seen_yet(tmp_path: Path) -> None:
    """Where none that is saved is in reach, NetworkManager wants a new one: a scan, and another try."""
    system = System(tmp_path)
    system.says(
        "refusal", "Error: Failed to add/activate new connection: A 'wireless' setting is required.\n"
    )

    async def scenario() -> None:
        async with rigged(system) as rig:
            assert "in reach" in await refused(rig.wifi.connect(0.2))
            system.says("once", "")
            await rig.wifi.connect(5)
            assert system.orders[-3:] == ["connect", "scan", "connect"]

    run(scenario())


@pytest.mark.parametrize(
    ("manager", "name", "text", "words"),
    [
        ("NetworkManager", "saved", "loopback\n", "no Wi-Fi saved"),
        ("NetworkManager", "device", "GENERAL.STATE:20 (unavailable)\n", "is its radio off?"),
        ("NetworkManager", "device", "GENERAL.STATE:50 (connecting (configuring))\n", "not connect within"),
        ("NetworkManager", "device", "GENERAL.STATE:10 (unmanaged)\n", "nobody looks after lo"),
        ("wpa_supplicant", "networks", "network id / ssid / bssid / flags\n", "knows no network"),
        ("wpa_supplicant", "wpa", "wpa_state=SCANNING\n", "no network that it knows is in reach"),
        ("nobody", "link", "Not connected.\n", "nobody looks after lo"),
    ],
)
def test_says_why_it_does_not_connect(tmp_path: Path, manager: str, name: str, text: str, words: str) -> None:
    """Each way in which the system cannot connect is told in one line with what to look at."""
    system = System(tmp_path, manager)
    system.says(name, text)

    async def scenario() -> None:
        async with rigged(system) as rig:
            assert words in await refused(rig.wifi.connect(0.2))
            assert rig.wifi.link is None

    run(scenario())


def test_without_iw_says_what_to_install(tmp_path: Path) -> None:
    """The program that tells the signal is named with its package."""
    system = System(tmp_path)
    (system.programs / "iw").unlink()
    system.path = str(system.programs)
    for name in ("cat", "cp"):
        (system.programs / name).symlink_to(f"/bin/{name}")

    async def scenario() -> None:
        async with rigged(system) as rig:
            assert "apt install iw" in await refused(rig.wifi.connect(5))

    run(scenario())


def test_the_radio_goes_off_and_on(tmp_path: Path) -> None:
    """Orders for the radio reach NetworkManager; the connection that stood is taken down on purpose."""
    system = System(tmp_path)

    async def scenario() -> None:
        async with rigged(system) as rig:
            await rig.wifi.connect(5)
            assert await rig.wifi.order("radio_off") == "radio is off"
            assert rig.wifi.link is None
            assert await rig.wifi.order("radio_on") == "radio is on"
            assert "off and on" in await rig.wifi.order("reset")
            assert rig.downs == []
        said = [order.rpartition(" ")[2] for order in system.orders if order.startswith("radio")]
        assert said == ["off", "on", "off", "on"]

    run(scenario())


def test_a_radio_without_network_manager_is_switched_by_the_kernel(tmp_path: Path) -> None:
    """wpa_supplicant has no word for it: the radio's own switch is written."""
    system = System(tmp_path, "wpa_supplicant")
    paths = system.sys / "class/net/lo/phy80211/rfkill0/soft"
    paths.parent.mkdir()
    paths.write_text("0")

    async def scenario() -> None:
        async with rigged(system) as rig:
            await rig.wifi.order("radio_off")
            assert paths.read_text() == "1"
            await rig.wifi.order("radio_on")
            assert paths.read_text() == "0"
            paths.unlink()
            assert "no radio switch" in await refused(rig.wifi.order("radio_off"))

    run(scenario())


def test_finds_the_interface(tmp_path: Path) -> None:
    """The first that the kernel made is used; one that is named must be there."""
    system = System(tmp_path)
    system.interface("wlan1", 7)
    system.interface("wlx00", 12)
    assert wireless(system.sys) == ["lo", "wlan1", "wlx00"]

    async def scenario() -> None:
        async with rigged(system, "wlan9") as rig:
            why = await refused(rig.wifi.connect(5))
            assert why == "there is no Wi-Fi interface wlan9; there are: lo, wlan1, wlx00"

    run(scenario())


def test_who_gives_up_waiting_leaves_nothing_running(tmp_path: Path) -> None:
    """A connect that is cancelled ends its nmcli, and close ends the listener."""
    system = System(tmp_path)
    system.says("hangs", "")

    async def scenario() -> None:
        async with rigged(system) as rig:
            connecting = asyncio.ensure_future(rig.wifi.connect(60))
            await rig.until(lambda: _number(system, "hanging") and _number(system, "listener"))
            connecting.cancel()
            await asyncio.wait([connecting])
            assert not _runs(_number(system, "hanging"))
        assert not _runs(_number(system, "listener"))

    run(scenario())


def test_a_program_that_hangs_is_ended_in_time() -> None:
    """A question that gets no answer is an error, and the program does not stay."""

    async def scenario() -> None:
        assert "longer than 0.1 s" in await refused(Programs().run("sleep", "60", timeout=0.1))

    run(scenario())


def test_a_listener_that_ends_is_started_again(tmp_path: Path) -> None:
    """What an ``iw event`` that was killed could not tell is noticed when the next one listens."""
    system = System(tmp_path)

    async def scenario() -> None:
        async with rigged(system, again=0.05) as rig:
            await rig.wifi.connect(5)
            await rig.until(lambda: _number(system, "listener"))
            system.says("link", "Not connected.\n")
            os.kill(_number(system, "listener"), signal.SIGKILL)
            await rig.until(lambda: rig.downs)

    run(scenario())


def _number(system: System, name: str) -> int:
    path = system.state / name
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text else 0


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
