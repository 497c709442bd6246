"""The emulated machine itself: what the other tests here stand on."""

import socket
import threading
from pathlib import Path

import pytest

from tests.box.conftest import MakeMachine
from tests.box.machine import Machine, MachineGone
from tests.harness import eventually

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def machine(machines: MakeMachine) -> Machine:
    """A machine that runs, with a line of its own."""
    machine = machines(ports=("line",))
    print(f"booted in {machine.boot():.1f} s")
    return machine


def test_runs_commands(machine: Machine) -> None:
    """Output and exit code come back; a command that takes too long is ended with all it started."""
    assert machine.run("echo out; echo err >&2; exit 3") == (3, "out\nerr\n")
    assert machine.run("echo begun; sleep 1000", timeout=1) == (None, "begun\n")
    assert machine.run("pgrep -f 'sleep [1]000'").code == 1


def test_runs_commands_side_by_side(machine: Machine) -> None:
    """One that waits does not keep others from running."""
    waiting = threading.Thread(target=machine.run, args=("while ! test -e /run/go; do sleep 0.1; done",))
    waiting.start()
    machine.must("touch /run/go")
    waiting.join(30)
    assert not waiting.is_alive()


def test_copies_files(machine: Machine, tmp_path: Path) -> None:
    """Bytes arrive as they are, in both directions, however many."""
    data = bytes(range(256)) * 3000
    machine.put("/root/deep/file", data, 0o600)
    assert machine.get("/root/deep/file") == data
    assert machine.must("stat -c %a /root/deep/file") == "600"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/empty").write_bytes(b"")
    machine.put_tree(tmp_path, "/root/tree")
    assert machine.get("/root/tree/sub/empty") == b""


def test_has_what_the_box_has(machine: Machine) -> None:
    """The kernel brings PPP, USB serial and radios; systemd has started all there is; no network is there."""
    machine.must("modprobe -a ppp_async ftdi_sio option cdc_acm mac80211_hwsim")
    machine.must("test -e /dev/ppp")
    assert machine.must("systemctl is-system-running") == "running"
    machine.must("modprobe -r mac80211_hwsim")
    assert machine.must("ls /sys/class/net") == "lo"


def test_runs_the_bridge(machine: Machine) -> None:
    """The tree is there, and its dependencies are."""
    machine.install()
    assert machine.must("hologram-bridge --version").startswith("hologram-bridge ")


def test_usb_serial_ports_come_and_go(machine: Machine) -> None:
    """What is plugged in has a stable name, carries bytes both ways, and takes its name with it."""
    name = machine.by_id("modem")
    machine.plug("modem", machine.port("line"))
    first = machine.wait_for(f"readlink -f {name}")
    talk = f"stty -F {name} raw -echo; (sleep 0.5; echo %s >%s) & timeout 20 head -n 1 <%s"
    assert machine.must(talk % ("there", "/dev/virtio-ports/line", name)) == "there"
    assert machine.must(talk % ("back", name, "/dev/virtio-ports/line")) == "back"
    # Somebody who still has it open keeps its name from being given again.
    machine.hold(name)
    machine.unplug("modem")
    machine.wait_for(f"! test -e {name}")
    machine.plug("modem", machine.port("line"))
    assert machine.wait_for(f"readlink -f {name}") != first
    machine.must("systemctl stop holder")
    machine.unplug("modem")
    machine.wait_for(f"! test -e {name}")


def test_a_line_can_lead_out_of_the_machine(machine: Machine, tmp_path: Path) -> None:
    """The other end of a USB serial port may be a test's own socket."""
    path = tmp_path / "line"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(20)
        machine.plug("own", path)
        peer, _ = server.accept()
        with peer:
            peer.settimeout(20)
            name = machine.by_id("own")
            machine.wait_for(f"test -e {name}")
            machine.must(f"stty -F {name} raw -echo; echo AT >{name}")
            assert peer.recv(3) == b"AT\n"
    machine.unplug("own")


def test_a_power_cut_loses_what_was_not_flushed_and_nothing_else(machine: Machine) -> None:
    """What fsync returned for is there after the cut; what only the kernel had is gone; the disk is whole."""
    machine.must("echo kept >/root/kept && sync /root/kept /root")
    machine.must("echo lost >/root/lost")
    waiting: list[BaseException] = []

    def wait() -> None:
        try:
            machine.run("sleep 600", timeout=600)
        except MachineGone as gone:
            waiting.append(gone)

    thread = threading.Thread(target=wait)
    thread.start()
    machine.kill()
    thread.join(30)
    assert waiting, "who waits for an answer is told that there will be none"
    print(f"booted again in {machine.boot():.1f} s")
    assert machine.must("cat /root/kept") == "kept"
    assert machine.run("cat /root/lost") != (0, "lost\n")
    machine.must("touch /root/written && ! dmesg | grep -E 'EXT4-fs error|remounting filesystem read-only'")


def test_stops_in_order(machine: Machine) -> None:
    """A shutdown ends the units, writes everything, and switches the machine off."""
    machine.must("echo written >/root/written")
    machine.stop()
    assert not machine.running
    machine.boot(settled=False)
    eventually(lambda: machine.must("cat /root/written") == "written")
