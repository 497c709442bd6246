"""pppd through systemd: with a stand-in for systemctl that keeps a unit and its interface in files."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bridge.adapters.ppp.unit import PppdUnit, is_there
from bridge.core.modem import Link
from bridge.errors import LinkError, NotCalled, PortHeld
from bridge.protocol.ppp.dial import Dial

LINK = Link("ppp0", "10.176.5.6", "10.64.64.64")

SYSTEMCTL = """\
#!/bin/sh
# start: does what the file "start" says, and fails as it fails; stop: fails while there is a file "stuck";
# show: the files "active" and "status", or nothing while there is a file "mute"
cd {folder}
echo "$@" >>asked
case "$2" in
start) . ./start ;;
stop)
    if [ -e stuck ]; then echo "Failed to stop $3: Access denied" >&2; exit 4; fi
    rm -rf sys/class/net/ppp0; echo inactive >active; echo "hung up" >status ;;
show) [ ! -e mute ] || exit 1
    echo "ActiveState=$(cat active)"; echo "StatusText=$(cat status)"; echo "StatusErrno=$(cat errno)" ;;
esac
"""

UP = """\
mkdir -p sys/class/net/ppp0
echo 7 >sys/class/net/ppp0/ifindex
echo active >active
echo "up on ppp0, local 10.176.5.6, remote 10.64.64.64" >status
"""

FAILS = """\
echo failed >active
echo "NO CARRIER: no data connection" >status
echo "Job for hologram-ppp.service failed." >&2
exit 1
"""

HELD = """\
echo failed >active
echo "the port /dev/ttyUSB3 is held by minicom (process 77)" >status
echo 16 >errno
exit 1
"""

HANGS = """\
echo activating >active
echo "dialling on /dev/ttyUSB3" >status
touch starting
while [ -e starting ]; do sleep 0.02; done
exit 1
"""

DIAL = Dial("/dev/null", "/dev/null", timeout=5.0)


class Unit:
    """A unit adapter, and the unit it sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "systemctl"
        program.write_text(SYSTEMCTL.format(folder=folder))
        program.chmod(0o755)
        (folder / "active").write_text("inactive\n")
        (folder / "status").write_text("\n")
        (folder / "errno").write_text("0\n")
        self.starts(UP)
        self.downs: list[str] = []
        self.pppd = self.again()

    def again(self) -> PppdUnit:
        """Return an adapter as a bridge that starts anew has it."""
        return PppdUnit(
            asyncio.get_running_loop(),
            on_down=self.downs.append,
            program=str(self.folder / "systemctl"),
            sys=self.folder / "sys",
            booted=self.folder,
        )

    def starts(self, script: str) -> None:
        (self.folder / "start").write_text(script)

    def ends(self, status: str) -> None:
        """End the unit as a link that is lost does."""
        (self.folder / "status").write_text(f"{status}\n")
        (self.folder / "active").write_text("failed\n")
        (self.folder / "sys/class/net/ppp0/ifindex").unlink()

    def asked(self, word: str) -> int:
        lines = (self.folder / "asked").read_text().splitlines()
        return sum(line.split()[1] == word for line in lines)


def run(folder: Path, story: Callable[[Unit], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story(Unit(folder))

    asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_the_unit_is_started_and_its_link_is_read(tmp_path: Path) -> None:
    """One start, one link; connected, it is not started again; disconnected, it is stopped."""

    async def story(unit: Unit) -> None:
        assert await unit.pppd.connect(DIAL) == LINK
        assert await unit.pppd.connect(DIAL) == LINK
        assert unit.pppd.link == LINK
        assert unit.asked("start") == 1
        await unit.pppd.disconnect()
        assert unit.pppd.link is None
        assert unit.asked("stop") == 1
        await unit.pppd.disconnect()
        assert unit.downs == []

    run(tmp_path, story)


def test_a_call_that_fails_is_told_in_the_units_words(tmp_path: Path) -> None:
    """The status line of the unit that failed is the reason."""

    async def story(unit: Unit) -> None:
        unit.starts(FAILS)
        with pytest.raises(LinkError, match=r"^NO CARRIER: no data connection$"):
            await unit.pppd.connect(DIAL)
        unit.starts(UP)
        assert await unit.pppd.connect(DIAL) == LINK
        await unit.pppd.disconnect()

    run(tmp_path, story)


def test_a_bridge_that_may_not_start_it_says_so(tmp_path: Path) -> None:
    """Without the polkit rule systemd wants a password."""

    async def story(unit: Unit) -> None:
        unit.starts(
            'echo "Failed to start hologram-ppp.service: Interactive authentication required." >&2\nexit 1\n'
        )
        with pytest.raises(LinkError, match="polkit"):
            await unit.pppd.connect(DIAL)

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("status", "told"),
    [("the modem hung up", "the modem hung up"), ("up on ppp0, local 1, remote 2", "the link ended")],
)
def test_a_link_that_ends_is_told_once(tmp_path: Path, status: str, told: str) -> None:
    """Seen at the interface; the reason is the unit's last word, if it has one in time."""

    async def story(unit: Unit) -> None:
        await unit.pppd.connect(DIAL)
        unit.ends(status)
        await until(lambda: unit.downs)
        assert unit.downs == [told]
        assert unit.pppd.link is None
        assert await unit.pppd.connect(DIAL) == LINK
        await unit.pppd.disconnect()
        assert unit.downs == [told]

    run(tmp_path, story)


def test_another_interface_of_the_same_name_is_another_link(tmp_path: Path) -> None:
    """The old link ended, however fast the new one came."""

    async def story(unit: Unit) -> None:
        await unit.pppd.connect(DIAL)
        (tmp_path / "sys/class/net/ppp0/ifindex").write_text("8\n")
        await until(lambda: unit.downs)
        await unit.pppd.disconnect()

    run(tmp_path, story)


def test_a_link_that_stands_is_taken_over(tmp_path: Path) -> None:
    """A bridge that was restarted finds its link in the unit, and watches it."""

    async def story(unit: Unit) -> None:
        await unit.pppd.connect(DIAL)
        second = unit.again()
        assert await second.connect(DIAL) == LINK
        assert unit.asked("start") == 1
        unit.ends("the modem hung up")
        await until(lambda: len(unit.downs) == 2)
        await second.disconnect()

    run(tmp_path, story)


def test_a_link_that_is_not_taken_over_is_hung_up(tmp_path: Path) -> None:
    """Once; that it cannot be is told, as the link goes on, and a machine without systemd has none."""

    async def story(unit: Unit) -> None:
        await unit.pppd.connect(DIAL)
        second = unit.again()
        (tmp_path / "stuck").touch()
        with pytest.raises(LinkError, match="could not be stopped"):
            await second.clear()
        (tmp_path / "stuck").unlink()
        (tmp_path / "mute").touch()
        with pytest.raises(LinkError, match="could not be looked at"):
            await second.clear()
        (tmp_path / "mute").unlink()
        await second.clear()
        assert unit.asked("stop") == 2
        await second.clear()
        assert unit.asked("stop") == 2
        assert await second.connect(DIAL) == LINK
        await second.clear()
        assert second.link == LINK
        (tmp_path / "systemctl").unlink()
        await unit.again().clear()

    run(tmp_path, story)


def test_a_start_that_is_called_off_stops_the_unit(tmp_path: Path) -> None:
    """Cancelled in the middle of dialling, the unit is told to stop."""

    async def story(unit: Unit) -> None:
        unit.starts(HANGS)
        call = asyncio.get_running_loop().create_task(unit.pppd.connect(DIAL))
        await until((tmp_path / "starting").exists)
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()
        assert unit.asked("stop") == 1
        (tmp_path / "starting").unlink()

    run(tmp_path, story)


def test_a_machine_without_systemctl_says_so(tmp_path: Path) -> None:
    """A program that is not there is a reason, not a traceback."""

    async def story(unit: Unit) -> None:
        (tmp_path / "systemctl").unlink()
        with pytest.raises(LinkError, match="could not be run"):
            await unit.pppd.connect(DIAL)

    run(tmp_path, story)


def test_a_pppd_that_only_root_may_run_is_there(tmp_path: Path) -> None:
    """The unit runs it, not we."""
    path = f"{tmp_path / 'nowhere'}:{tmp_path}"
    assert not is_there("pppd", path)
    (tmp_path / "pppd").touch(mode=0o600)
    assert is_there("pppd", path)


def test_a_port_that_another_program_has_is_told_apart(tmp_path: Path) -> None:
    """By the unit's error number, as nobody but root sees who has it; so is what keeps us from calling."""

    async def story(unit: Unit) -> None:
        unit.starts(HELD)
        with pytest.raises(PortHeld, match=r"is held by minicom \(process 77\)"):
            await unit.pppd.connect(DIAL)
        unit.starts("echo 22 >errno\n" + FAILS)
        with pytest.raises(NotCalled, match="NO CARRIER"):
            await unit.pppd.connect(DIAL)
        unit.starts("echo 0 >errno\n" + FAILS)
        with pytest.raises(LinkError, match="NO CARRIER") as caught:
            await unit.pppd.connect(DIAL)
        assert type(caught.value) is LinkError

    run(tmp_path, story)
