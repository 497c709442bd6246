"""The package's scripts, run with every place and every program of the system standing for the real one."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.harness.process import ROOT

SCRIPTS = ROOT / "config/debian"
PLACES = re.compile(r"(?<![\w/])/(?=(?:etc|run|var|usr|lib|proc)/|dev/hologram)")


class System:
    """A small machine below a folder: it notes which of its programs are called, and how."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.calls.touch()
        for name in (
            "etc/default",
            "etc/hologram-bridge",
            "etc/systemd/system",
            "usr/bin",
            "run",
            "lib/systemd",
        ):
            (folder / name).mkdir(parents=True)
        (folder / "etc/hologram-bridge/bridge.hjson").touch()
        for name in (
            *("systemctl", "systemd-sysusers", "modprobe", "udevadm", "py3compile", "userdel", "groupdel"),
            *("deb-systemd-helper", "deb-systemd-invoke", "getent"),
        ):
            self.program(name)
        self.program("hologram-bridge")
        self.program("systemd-detect-virt", "exit 1")

    def boot(self) -> None:
        """Have systemd and udev run, as they do on a machine, and as a chroot may see those of its host."""
        for name in ("run/systemd/system", "run/udev"):
            (self.folder / name).mkdir(parents=True)

    def program(self, name: str, does: str = "") -> None:
        """Give it a program that notes how it was called, and then does what a shell is told."""
        path = self.folder / "usr/bin" / name
        path.write_text(f'#!/bin/sh\necho {path.name} "$@" >>{self.calls}\n{does}\n')
        path.chmod(0o755)

    def run(self, script: str, *words: str) -> str:
        """Run a script of the package; return what it says."""
        moved = self.folder / script
        moved.write_text(PLACES.sub(f"{self.folder}/", (SCRIPTS / script).read_text()))
        done = subprocess.run(
            ["sh", str(moved), *words],
            env={"PATH": f"{self.folder}/usr/bin:{os.environ['PATH']}"}, cwd=self.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), script
        return done.stdout

    def called(self, name: str) -> bool:
        return any(line.split()[0] == name for line in self.calls.read_text().splitlines())


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_the_configuration_is_checked_in_the_units_environment(system: System) -> None:
    """Values are taken as systemd takes them; a shell would run some of these, and fail at others."""
    (system.folder / "etc/default/hologram-bridge").write_text(
        "# a comment\n"
        'HOLOGRAM_BRIDGE__ROUTES=[{"match": "alarms/#", "priority": "high"}]\n'
        "HOLOGRAM_BRIDGE__MQTT__PASSWORD=a$b (c) `touch run` \\d\n"
        "HOLOGRAM_BRIDGE__MQTT__USERNAME='two words'\n"
        '  HOLOGRAM_BRIDGE__LOG__LEVEL="debug" \n'
        "HOLOGRAM_BRIDGE__NO NAME=1\n"
        "PATH=/nowhere\n"
        "HOLOGRAM_BRIDGE__MQTT__HOST=last-line.lan"
    )
    system.program("hologram-bridge", f"env >{system.folder}/environment")
    assert "not started" not in system.run("postinst", "configure", "")
    found = dict(
        line.split("=", 1)
        for line in (system.folder / "environment").read_text().splitlines()
        if line.startswith("HOLOGRAM_BRIDGE")
    )
    assert found == {
        "HOLOGRAM_BRIDGE__ROUTES": '[{"match": "alarms/#", "priority": "high"}]',
        "HOLOGRAM_BRIDGE__MQTT__PASSWORD": "a$b (c) `touch run` d",
        "HOLOGRAM_BRIDGE__MQTT__USERNAME": "two words",
        "HOLOGRAM_BRIDGE__LOG__LEVEL": "debug",
        "HOLOGRAM_BRIDGE__MQTT__HOST": "last-line.lan",
    }


@pytest.mark.parametrize(
    ("runs", "modem", "previous", "told"),
    [(0, True, "", True), (3, True, "", False), (0, False, "", False), (0, True, "0.1.0", False)],
)
def test_a_modem_that_modem_manager_has_already_is_told_of(
    system: System, runs: int, modem: bool, previous: str, told: bool
) -> None:
    """At a first installation beside one of our modems; it is not restarted, as its link may be in use."""
    system.boot()
    system.program("systemctl", f"exit {runs}")
    if modem:
        (system.folder / "dev/hologram").mkdir(parents=True)
    said = system.run("postinst", "configure", previous)
    assert ("sudo systemctl restart ModemManager" in said) == told
    assert "restart" not in system.calls.read_text()


@pytest.mark.parametrize(
    ("active", "previous", "told"),
    [
        (3, "", "not started. Edit {}, then: sudo systemctl enable --now hologram-bridge"),
        (3, "0.1.0", "not started. Edit {}, then: sudo systemctl enable --now hologram-bridge"),
        (0, "0.1.0", "the old version goes on. Edit {}, then: sudo systemctl restart hologram-bridge"),
    ],
)
def test_a_configuration_that_does_not_serve_is_told_with_the_command_that_helps(
    system: System, active: int, previous: str, told: str
) -> None:
    """One that runs needs a restart: to enable it once more would change nothing. Nothing is started here."""
    (system.folder / "run/systemd/system").mkdir(parents=True)
    system.program("systemctl", f'case "$*" in *is-active*hologram-bridge.service) exit {active};; esac')
    system.program("hologram-bridge", "echo 'ERROR: nonsense: there is no such key' >&2; exit 78")
    assert system.run("postinst", "configure", previous).splitlines() == [
        "ERROR: nonsense: there is no such key",
        f"hologram-bridge: {told.format(system.folder / 'etc/hologram-bridge/bridge.hjson')}",
    ]
    assert not system.called("deb-systemd-invoke")


@pytest.mark.parametrize("script", [("postinst", "configure", ""), ("postrm", "remove")])
@pytest.mark.parametrize("guest", [None, "--chroot", "--container"])
def test_another_systems_kernel_and_devices_are_left_alone(
    system: System, script: tuple[str, ...], guest: str | None
) -> None:
    """A chroot or a container, even one that sees the host's /run, loads no module and moves no device."""
    system.boot()
    system.program("systemd-detect-virt", f'case "$*" in *{guest}*) exit 0;; esac; exit 1')
    system.run(*script)
    assert system.called("udevadm") == (guest is None)
    assert system.called("modprobe") == (guest is None and script[0] == "postinst")
    assert not system.called("sysctl")


def test_what_runs_is_stopped_before_a_removal(system: System) -> None:
    """The bridge before the link, which it would dial again; what was changed in the kernel is put back."""
    system.boot()
    system.run("prerm", "remove")
    stopped = re.findall(r"deb-systemd-invoke stop (\S+)\.service", system.calls.read_text())
    assert stopped[:2] == ["hologram-bridge", "hologram-ppp"]
    units = {path.stem for path in (ROOT / "systemd").glob("*.service") if "@" not in path.stem}
    assert set(stopped) == units
    system.calls.write_text("")
    system.run("prerm", "upgrade", "0.2.0")
    assert not system.called("deb-systemd-invoke")


def fetched(system: System) -> set[str]:
    """Run `make install`'s script on a machine that has nothing yet; return the packages that it asks for."""
    system.program("id", "echo 0")
    system.program("uname", "echo aarch64")
    for name in ("dpkg-query", "python3", "apt-get"):
        system.program(name)
    (system.folder / "usr/lib/hologram-bridge").mkdir(parents=True)
    (system.folder / "stage").write_text('mkdir "$1"')
    (system.folder / "postinst").touch()
    said = system.run("install")
    calls = [line.split() for line in system.calls.read_text().splitlines()]
    (words,) = (each for each in calls if each[0] == "apt-get" and "install" in each)
    assert ("a broker listens on port 1883 already" in said) == ("mosquitto" not in words)
    return set(words)


def as_of_1883(system: System, port: int) -> None:
    """Give it the kernel's own words about the sockets of ``port``, as if that were the broker's."""
    (system.folder / "proc/net").mkdir(parents=True)
    for name in ("tcp", "tcp6"):
        title, *lines = (Path("/proc/net") / name).read_text().splitlines(keepends=True)
        ours = [line.replace(f":{port:04X} ", ":075B ") for line in lines if f":{port:04X} " in line]
        (system.folder / "proc/net" / name).write_text("".join([title, *ours]))


def test_mosquitto_is_installed_where_no_broker_is(system: System) -> None:
    """A connection to a broker on another machine is none here."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        connection, _ = server.accept()
        server.close()
        with connection:
            as_of_1883(system, connection.getsockname()[1])
            assert client.getpeername() == connection.getsockname()
    assert {"mosquitto", "mosquitto-clients", "ppp", "polkitd"} <= fetched(system)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")])
def test_mosquitto_is_not_installed_beside_another_broker(
    system: System, family: socket.AddressFamily, address: str
) -> None:
    """One in a container has the port: at the next boot the two would race for it. The rest is installed."""
    with socket.create_server((address, 0), family=family) as server:
        as_of_1883(system, server.getsockname()[1])
    asked = fetched(system)
    assert "mosquitto" not in asked
    assert {"mosquitto-clients", "ppp", "polkitd"} <= asked


def test_a_purge_leaves_nothing_of_the_bridges(system: System) -> None:
    """The keys go, wherever they stand, and the user; a removal keeps all of it."""
    system.program("getent", "echo hologram:x:990:990::/var/lib/hologram-bridge:/usr/sbin/nologin")
    keys = [system.folder / "etc/hologram-bridge/bridge.hjson", system.folder / "etc/default/hologram-bridge"]
    keys[1].touch()
    system.run("postrm", "remove")
    assert all(each.exists() for each in keys)
    assert not system.called("userdel")
    # The home is compared with a place of the system, which stands for itself here.
    system.program(
        "getent", f"echo hologram:x:990:990::{system.folder}/var/lib/hologram-bridge:/usr/sbin/nologin"
    )
    system.run("postrm", "purge")
    assert not any(each.exists() for each in keys)
    assert system.called("userdel")


def test_a_person_of_the_name_hologram_survives_a_purge(system: System) -> None:
    """Somebody who was there before the package has another home, and stays, with the group."""
    system.program("getent", "echo hologram:x:1000:1000:Holly Gram:/home/hologram:/bin/bash")
    system.run("postrm", "purge")
    assert not system.called("userdel")
    assert not system.called("groupdel")


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="there is no dpkg here")
def test_what_tells_that_a_program_is_installed_is_that_programs_alone() -> None:
    """A folder that another package has too would make `make install` believe that nothing is missing."""
    needed = re.findall(r"(?m)^ *need (/\S+) (\S+)", (SCRIPTS / "install").read_text())
    assert {"mosquitto", "polkitd"} <= {package for _, package in needed}
    for path, _ in needed:
        names = [path, path.removeprefix("/usr")]  # the one or the other, where /bin is a link to /usr/bin
        done = subprocess.run(["dpkg-query", "-S", *names], capture_output=True, text=True, check=False)
        owners = {each for line in done.stdout.splitlines() for each in line.rpartition(":")[0].split(", ")}
        assert len(owners) <= 1, (path, owners)
