"""The package in the emulated machine: installed, run without root, upgraded, removed, purged."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import recipe
from tests.box.conftest import MakeMachine
from tests.box.gadget import UsbModem
from tests.box.machine import Machine
from tests.box.ppp import FAR_END, FAR_IP
from tests.harness import eventually
from tests.harness.process import ROOT

pytestmark = pytest.mark.root

DEB = "/root/hologram-bridge.deb"
CONFIG = "/etc/hologram-bridge/bridge.hjson"
CLOUD_LOG = "/run/cloud.log"
SLOW = 400.0
"""Seconds that apt or a start may take on an emulated processor that others use too."""

OWN_SCRIPT = "mkdir -p /etc/hologram-bridge/ppp && echo '# mine' >/etc/hologram-bridge/ppp/chat-mine"

TRACES = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /root -o -path /opt -o -path /usr/local"
    " -o -path /var/log -o -path /tmp -o -path /var/backups -o -path /run \\)"
    " -prune -o -name '*hologram*' -print"
)


def build(folder: Path, version: str) -> Path:
    """Build the package as `make deb` does."""
    env = {**os.environ, "OUT": str(folder), "VERSION": version, "PIP": f"{sys.executable} -m pip"}
    env["PYTHON_VERSION"] = recipe.PYTHON
    script = ["sh", str(ROOT / "config/debian/build"), "amd64"]
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder / f"hologram-bridge_{version}+py{recipe.PYTHON}_amd64.deb"


def as_version(package: Path, version: str) -> Path:
    """Return the same package under another version."""
    tree, made = package.with_name(f"tree-{version}"), package.with_name(f"{version}.deb")
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True, timeout=60)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(tree), str(made)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    return made


@pytest.fixture(scope="module")
def machine(machines: MakeMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the package in three versions as files, the shipped Mosquitto, and a simulated cloud."""
    package = build(tmp_path_factory.mktemp("deb"), "0.9.0")
    machine = machines(name="install")
    machine.boot()
    machine.put(DEB, package)
    for version in ("0.9.1", "0.9.2"):
        machine.put(f"/root/{version}.deb", as_version(package, version))
    machine.install()
    machine.put("/etc/mosquitto/conf.d/box.conf", ROOT / "config/mosquitto/hologram-bridge.conf")
    machine.must("systemctl start mosquitto")
    yield machine
    print(machine.run("journalctl --no-pager -b -o short-monotonic -n 150 -u 'hologram-*'").out)


@pytest.fixture
def clean(machine: Machine) -> Machine:
    """The machine without the package, as it was before it."""
    machine.run("systemctl stop cloud; apt-get purge -y hologram-bridge", SLOW)
    machine.run(f"rm -f {CLOUD_LOG}; mosquitto_pub -r -n -t hologram/bridge/state")
    return machine


@pytest.fixture
def installed(machine: Machine) -> Iterator[Machine]:
    """The machine with the package and a configuration, stopped."""
    if (
        machine.run("dpkg-query -W -f='${db:Status-Status} ${Version}' hologram-bridge").out
        != f"installed 0.9.0+py{recipe.PYTHON}"
    ):
        machine.run("apt-get purge -y hologram-bridge", SLOW)
        apt(machine, "install", DEB)
    configure(machine)
    yield machine
    machine.run("systemctl disable --now hologram-bridge; systemctl stop cloud", SLOW)
    machine.run(f"systemctl reset-failed; rm -f {CLOUD_LOG} /var/lib/hologram-bridge/*")


def apt(machine: Machine, *words: str) -> str:
    """Run apt-get; whatever would ask a question finds nobody to answer."""
    return machine.must(f"apt-get -y -o Dpkg::Use-Pty=0 {' '.join(words)} </dev/null 2>&1", SLOW)


def shown(machine: Machine, name: str, unit: str = "hologram-bridge") -> str:
    return machine.must(f"systemctl show -p {name} --value {unit}")


def configure(machine: Machine, **sections: object) -> None:
    """Write the configuration into the file that is there, so that its owner and mode stay."""
    settings = {"credentials": {"devicekey": "abcd1234"}, "cloud": {"host": "127.0.0.1"}, **sections}
    machine.must(f"printf %s {shlex.quote(json.dumps(settings))} >{CONFIG}")


def start_cloud(machine: Machine, where: str = "") -> None:
    machine.spawn(
        "cloud",
        f"{where} /usr/local/bin/hologram-bridge simulate cloud --host 0.0.0.0 --log {CLOUD_LOG} --quiet",
    )


def publish(machine: Machine, text: str) -> None:
    machine.must(f"mosquitto_pub -q 1 -t hologram/out/box -m {shlex.quote(text)}")


def arrives(machine: Machine, text: str) -> None:
    eventually(lambda: text in machine.run(f"cat {CLOUD_LOG}").out, SLOW, what=f"{text} in the cloud")


def running(machine: Machine) -> Machine:
    """Start it, now and at each boot."""
    machine.must("systemctl enable --now hologram-bridge", SLOW)
    return machine


def as_the_bridge(machine: Machine, command: str, timeout: float = SLOW) -> tuple[int | None, str]:
    """Run a command with the rights of the service: its user, its sandbox."""
    skip = (
        "Type",
        "NotifyAccess",
        "Exec",
        "Environment",
        "Restart",
        "Watchdog",
        "Timeout",
        "StateD",
        "Runtime",
    )
    text = (ROOT / "systemd/hologram-bridge.service").read_text()
    lines = text.partition("[Service]")[2].partition("[Install]")[0].splitlines()
    options = [f"--property={line}" for line in lines if "=" in line and not line.startswith(("#", *skip))]
    words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *options, "/bin/sh", "-c", command]
    ran = machine.run(shlex.join(words), timeout)
    return ran.code, ran.out


def test_a_first_installation_starts_nothing_and_says_what_to_do(clean: Machine) -> None:
    """Without a device key nothing runs, now or at the next boot; the file for it is there, for few eyes."""
    said = apt(clean, "install", DEB)
    assert "no device key is given" in said
    assert f"Edit {CONFIG}, then: sudo systemctl enable --now hologram-bridge" in said
    assert clean.run("systemctl is-active hologram-bridge").out.strip() == "inactive"
    assert clean.run("systemctl is-enabled hologram-bridge").out.strip() == "disabled"
    assert clean.must(f"stat -c '%a %U:%G' {CONFIG}") == "640 root:hologram"
    assert clean.must("id -nG hologram") == "hologram dialout netdev"
    assert clean.must("getent passwd hologram").endswith(":/usr/sbin/nologin")
    assert clean.must("sysctl -n net.ipv4.tcp_timestamps") == "1"
    assert clean.must("systemd-analyze verify --man=no /lib/systemd/system/hologram-*.service 2>&1") == ""
    # The machine's dpkg was told to leave out documentation.
    assert clean.run("dpkg -V hologram-bridge | grep -v /usr/share/doc").out == ""
    score = clean.must("systemd-analyze security --no-pager hologram-bridge.service | tail -n 1")
    print(score)
    assert float(score.split(":")[1].split()[0]) <= 1.5


def test_with_a_key_it_runs_as_a_user_of_its_own(installed: Machine) -> None:
    """Messages flow; the process is nobody special; root and the group reach it, others do not."""
    start_cloud(installed)
    machine = running(installed)
    assert machine.must("sysctl -n net.ipv4.tcp_timestamps") == "0"
    publish(machine, "first")
    arrives(machine, "first")
    pid = shown(machine, "MainPID")
    status = machine.must(f"cat /proc/{pid}/status")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status
    assert machine.must(f"stat -c %U /proc/{pid}") == "hologram"
    assert machine.must("stat -c '%a %U:%G' /var/lib/hologram-bridge") == "750 hologram:hologram"
    assert "queued     0 messages" in machine.must("hologram-bridge queue stats")
    group = machine.must("getent group hologram | cut -d: -f3")
    for groups, allowed in ((f"--groups {group}", True), ("--clear-groups", False)):
        other = f"setpriv --reuid 12345 --regid 12345 {groups}"
        assert (machine.run(f"{other} hologram-bridge queue stats").code == 0) == allowed, groups


def test_it_lives_on_without_the_broker_and_comes_back_when_killed(installed: Machine) -> None:
    """The broker's stop is not the bridge's; SIGKILL is answered by a start; a reload keeps the process."""
    start_cloud(installed)
    machine = running(installed)
    pid = shown(machine, "MainPID")
    machine.must("systemctl restart mosquitto && systemctl stop mosquitto")
    assert shown(machine, "MainPID") == pid
    machine.wait_for("systemctl show -p StatusText hologram-bridge | grep -q 'no broker'", SLOW)
    machine.must("systemctl start mosquitto && systemctl reload hologram-bridge")
    assert shown(machine, "MainPID") == pid
    machine.must("systemctl kill -s KILL hologram-bridge")
    machine.wait_for(f"systemctl is-active hologram-bridge && ! kill -0 {pid}", SLOW)
    publish(machine, "after the kill")
    arrives(machine, "after the kill")


def test_a_wrong_configuration_is_not_tried_again_and_again(installed: Machine) -> None:
    """Exit 78 is final until somebody acts."""
    machine = running(installed)
    configure(machine, nonsense=True)
    machine.run("systemctl restart hologram-bridge", SLOW)
    assert shown(machine, "ActiveState") == "failed"
    assert shown(machine, "ExecMainStatus") == "78"
    assert shown(machine, "NRestarts") == "0"
    assert "nonsense" in machine.journal("hologram-bridge")


def test_without_root_it_dials_and_has_the_modem_switched(installed: Machine) -> None:
    """A known modem on the USB is opened, dialled through the root unit, and its port's power switched."""
    machine = installed
    machine.must("modprobe -a ppp_async && ip netns add far && ip -n far link set lo up")
    start_cloud(machine, "ip netns exec far")
    machine.spawn(
        "modem",
        "/usr/local/bin/hologram-bridge simulate modem --profile nova-u201 --link /run/modem0"
        f" --link /run/modem1 --registration 0.2 --sim-delay 0 --pppd {shlex.quote(FAR_END)}",
    )
    machine.wait_for("test -e /run/modem1", SLOW)
    modem = UsbModem(machine, "1546:1102", kind="acm", functions=3)
    modem.wire(["/run/modem0", "/run/modem1"])
    modem.plug()
    try:
        machine.wait_for("test -e /dev/hologram/modem-if02", SLOW)
        ignored = "udevadm info -q property /sys/bus/usb/devices/*-1 | grep ID_MM_DEVICE_IGNORE"
        assert machine.must(ignored) == "ID_MM_DEVICE_IGNORE=1"
        configure(machine, cloud={"host": FAR_IP}, network={"interface": "cellular"})
        machine.must("systemctl enable --now hologram-bridge", SLOW)
        machine.wait_for("systemctl is-active hologram-ppp", SLOW)
        publish(machine, "by pppd")
        arrives(machine, "by pppd")
        _may_do_this_and_no_more(machine)
        place = machine.must("basename $(dirname $(grep -l 1546 /sys/bus/usb/devices/*/idVendor))")
        code, said = as_the_bridge(machine, f"systemctl --no-ask-password start hologram-usb-power@{place}")
        assert code == 0, said
        machine.wait_for("test -e /dev/hologram/modem-if02", SLOW)
        publish(machine, "after the power")
        arrives(machine, "after the power")
        machine.must("systemctl stop hologram-bridge hologram-ppp", SLOW)
    finally:
        print(machine.journal("hologram-ppp", 40))
        modem.remove()
        machine.run("systemctl stop modem; ip netns del far")


def _may_do_this_and_no_more(machine: Machine) -> None:
    """Of what systemd can be asked, the bridge's user may start and stop its own units only."""
    for words in (
        "stop mosquitto",
        "restart hologram-ppp",
        "kill hologram-ppp",
        "start hologram-usb-bind",
        "start hologram-usb-power@x",
        "start hologram-usb-power@1-2.service.service",
        "stop hologram-usb-power@1-9",
        "set-property hologram-ppp MemoryMax=1G",
        "enable hologram-ppp",
        "reboot",
    ):
        code, said = as_the_bridge(machine, f"systemctl --no-ask-password {words}")
        assert code, words
        assert "denied" in said or "authentication required" in said, (words, said)
    code, said = as_the_bridge(machine, "systemctl --no-ask-password start hologram-usb-power@7-7")
    assert (code, "control process" in said) == (1, True), "the program refuses a place without a known modem"
    assert "no known modem is at 7-7" in machine.journal("hologram-usb-power@7-7")


LOCKER = (
    'import fcntl, signal; file = open("/var/lib/dpkg/lock-frontend", "r+"); '
    'fcntl.lockf(file, fcntl.LOCK_EX); open("/run/locked", "w").close(); signal.pause()'
)


def test_it_restarts_the_box_where_nothing_else_helps(installed: Machine) -> None:
    """Not while dpkg is at work, once a day, and what waited is still there afterwards."""
    machine = installed
    machine.spawn("locker", shlex.join(["python3", "-c", LOCKER]))
    machine.wait_for("test -e /run/locked")
    code, _ = as_the_bridge(machine, "systemctl --no-ask-password start hologram-restart-box")
    assert code == 1
    assert "/var/lib/dpkg/lock-frontend is locked" in machine.journal("hologram-restart-box")
    machine.must("systemctl stop locker")
    configure(machine, network={"interface": "cellular", "restart_box_after": "5s"})
    publish(running(machine), "waits for a modem")
    eventually(lambda: not machine.running, SLOW, what="the box restarts")
    machine.stop()
    machine.boot()
    machine.must("systemctl start mosquitto")
    machine.wait_for("systemctl is-active hologram-bridge", SLOW)
    machine.wait_for("awk '{ exit $1 < 60 }' /proc/uptime", SLOW)
    assert "waiting for the modem" in machine.journal("hologram-bridge")
    assert machine.running, "it is restarted once a day"
    configure(machine)
    start_cloud(machine)
    machine.must("systemctl restart hologram-bridge", SLOW)
    arrives(machine, "waits for a modem")


def test_a_modem_that_older_kernels_do_not_know_is_made_known_when_plugged_in(installed: Machine) -> None:
    """A udev rule starts the unit that tells the option driver, once; its ports have their stable names."""
    machine = installed
    modem = UsbModem(machine, "05c6:90b2", kind="gser", functions=4)
    try:
        modem.plug()
        machine.wait_for("systemctl is-active hologram-usb-bind && test -e /dev/hologram/modem-if02", SLOW)
        modem.unplug()
        machine.wait_for("! test -e /dev/hologram/modem-if02", SLOW)
        modem.plug()
        machine.wait_for("test -e /dev/hologram/modem-if02", SLOW)
    finally:
        modem.remove()
        machine.run("systemctl stop hologram-usb-bind")


def test_it_may_switch_wifi_and_not_change_it(installed: Machine) -> None:
    """NetworkManager obeys the bridge's user as to connecting and the radio, and in nothing else."""
    machine = installed
    machine.must("modprobe mac80211_hwsim radios=1 && systemctl start NetworkManager")
    try:
        machine.wait_for("nmcli -t device | grep -q wlan0:wifi:disconnected", SLOW)
        for may in ("radio wifi off", "radio wifi on", "device wifi list ifname wlan0 --rescan yes"):
            code, said = as_the_bridge(machine, f"nmcli {may}")
            assert code == 0, said
        for not_so in ("networking off", "general hostname mine", "connection add type dummy ifname dummy9"):
            code, said = as_the_bridge(machine, f"nmcli {not_so}")
            assert code, not_so
    finally:
        machine.run("systemctl stop NetworkManager wpa_supplicant; modprobe -r mac80211_hwsim")


def test_wpa_supplicant_answers_it(installed: Machine) -> None:
    """A private /tmp is not in the way: wpa_cli is given the runtime directory for its answers."""
    machine = installed
    machine.must("modprobe mac80211_hwsim radios=1")
    machine.put("/etc/wpa_supplicant/box.conf", "ctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev\n")
    machine.spawn("box-wpa", "wpa_supplicant -i wlan0 -c /etc/wpa_supplicant/box.conf")
    try:
        machine.wait_for("wpa_cli -i wlan0 ping", SLOW)
        configure(machine, network={"interface": "wifi", "device": "wlan0", "autoconnect": False})
        machine.must("systemctl start hologram-bridge", SLOW)
        status = "mosquitto_sub -W 60 -C 1 -t hologram/network/status"
        machine.wait_for(f'{status} | grep -q \'"state": *"disconnected"\'', SLOW)
        assert "nobody looks after" not in machine.journal("hologram-bridge")
    finally:
        machine.run("systemctl stop hologram-bridge box-wpa; modprobe -r mac80211_hwsim")


def test_an_upgrade_keeps_what_there_is(installed: Machine) -> None:
    """One that was switched off stays off; one that ran goes on, with its outbox and all that was changed."""
    machine = installed
    apt(machine, "install", "/root/0.9.1.deb")
    assert machine.run("systemctl is-active hologram-bridge").out.strip() == "inactive"
    assert machine.run("systemctl is-enabled hologram-bridge").out.strip() == "disabled"

    running(machine)
    publish(machine, "queued before")
    machine.wait_for("hologram-bridge queue stats | grep -q 'queued     1 messages'", SLOW)
    machine.must(OWN_SCRIPT)
    before = machine.must(f"sha256sum {CONFIG} /etc/hologram-bridge/ppp/*")
    pid = shown(machine, "MainPID")
    apt(machine, "install", "/root/0.9.2.deb")
    assert machine.must("dpkg-query -W -f='${Version}' hologram-bridge") == "0.9.2"
    assert shown(machine, "ActiveState") == "active"
    assert shown(machine, "MainPID") != pid
    assert machine.must(f"sha256sum {CONFIG} /etc/hologram-bridge/ppp/*") == before
    start_cloud(machine)
    arrives(machine, "queued before")


def test_remove_keeps_the_data_and_purge_keeps_nothing(installed: Machine) -> None:
    """After a removal a new installation goes on where the old one was; after a purge there never was one."""
    machine = running(installed)
    publish(machine, "survives the removal")
    machine.wait_for("hologram-bridge queue stats | grep -q 'queued     1 messages'", SLOW)
    apt(machine, "remove", "hologram-bridge")
    assert machine.must("sysctl -n net.ipv4.tcp_timestamps") == "1"
    assert machine.run("pgrep -u hologram").code == 1
    assert machine.run("test -e /usr/bin/hologram-bridge -o -e /usr/lib/hologram-bridge").code == 1
    assert machine.must("stat -c '%a %U' /var/lib/hologram-bridge/outbox.db") == "640 hologram"
    start_cloud(machine)
    apt(machine, "install", DEB)
    assert shown(machine, "ActiveState") == "active"
    arrives(machine, "survives the removal")
    apt(machine, "purge", "hologram-bridge")
    assert machine.must(TRACES) == ""
    assert machine.run("getent passwd hologram; getent group hologram").out == ""
    assert machine.run("dpkg -s hologram-bridge 2>/dev/null").out == ""


def test_it_is_replaced_by_and_replaces_an_installation_from_source(clean: Machine, tmp_path: Path) -> None:
    """`make install` refuses beside the package, works twice without it, keeps what was changed, and goes."""
    machine = clean
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
    target = ["--only-binary=:all:", f"--python-version={recipe.PYTHON}", "--platform=manylinux2014_x86_64"]
    pins = ["--require-hashes", "-r", str(ROOT / "config/debian/requirements.txt")]
    subprocess.run([*pip, *target, "-d", str(tmp_path / "wheels"), *pins], check=True, timeout=300)
    machine.put_tree(tmp_path, "/root", "wheels")
    names = ["README.md", "docs", "LICENSE", "CHANGELOG.md", "ARCHITECTURE.md", "node-red-flows", "Makefile"]
    machine.put_tree(ROOT, "/opt/project", *names)
    offline = "cd /opt/project && PIP_NO_INDEX=1 PIP_FIND_LINKS=/root/wheels"
    install, uninstall = (f"{offline} sh config/debian/{each} 2>&1" for each in ("install", "uninstall"))

    machine.must("touch /usr/sbin/usb_modeswitch")  # there is no network to fetch it from
    said = machine.must(install, SLOW)
    assert "not started. Edit" in said
    configure(machine)
    start_cloud(machine)
    machine.must("systemctl enable --now hologram-bridge", SLOW)
    publish(machine, "from source")
    arrives(machine, "from source")
    machine.must(f"{OWN_SCRIPT} && touch /usr/lib/hologram-bridge/bridge/old.py")
    machine.must("echo /usr/lib/hologram-bridge/bridge/old.py >>/usr/lib/hologram-bridge/installed-files")
    before, pid = (
        machine.must(f"sha256sum {CONFIG} /etc/hologram-bridge/ppp/chat-mine"),
        shown(machine, "MainPID"),
    )
    machine.must(install, SLOW)
    assert machine.must(f"sha256sum {CONFIG} /etc/hologram-bridge/ppp/chat-mine") == before
    assert machine.run("test -e /usr/lib/hologram-bridge/bridge/old.py").code == 1
    assert shown(machine, "MainPID") not in (pid, "0")

    apt(machine, "install", DEB)
    assert shown(machine, "ActiveState") == "active"
    assert machine.run("test -e /usr/lib/hologram-bridge/installed-files").code == 1
    refused = machine.run(install, SLOW)
    assert (refused.code, "Debian package is installed" in refused.out) == (1, True)
    apt(machine, "remove", "hologram-bridge")
    machine.must(install, SLOW)
    machine.must(uninstall, SLOW)
    assert machine.run("systemctl cat hologram-bridge").code != 0
    assert machine.must(f"stat -c '%a %U:%G' {CONFIG}") == "640 root:hologram"
    machine.must(f"PURGE=1; export PURGE; {uninstall}", SLOW)
    machine.run("dpkg --purge hologram-bridge")
    assert machine.must(TRACES) == ""
