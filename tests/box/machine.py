"""A machine of our own in qemu: booted, ordered about, cut from power, its USB ports pulled and put back.

::

    machine.boot()                                  # seconds it took
    machine.run("systemctl is-active mosquitto")    # Ran(code, out)
    machine.must("modprobe mac80211_hwsim")         # its output; a failure fails the test
    machine.put("/etc/x", "text"); machine.get("/var/log/x"); machine.install()
    machine.plug("modem", machine.port("far"))      # a USB serial port, wired to a Unix socket
    machine.unplug("modem")
    machine.kill(); machine.boot()                  # a power cut, and power again on the same disk
    machine.boot(plugged={"modem": far.port("far")})  # with that in its USB ports from the start
    machine.stop()                                  # systemctl poweroff

A power cut is SIGKILL of qemu. What is lost then is what a box loses: the guest's memory, with all that its
kernel had not written yet. The disk is attached with a volatile write cache (cache=writeback), so that fsync
in the guest must reach qemu as a flush, and overwrites no base: it is a qcow2 overlay whose own tables qemu
writes only at a flush, so unflushed writes to fresh clusters are lost too. Flushed bytes survive, as they
are in the host's page cache, which a killed process takes nothing from; cache=none would promise no more.
"""

import base64
import contextlib
import io
import shlex
import subprocess
import tarfile
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.box import recipe
from tests.box.accelerator import accelerator
from tests.box.line import Agent, MachineGone
from tests.box.qmp import Qmp
from tests.harness.process import ROOT, Process, eventually

__all__ = ["BOOT_TIMEOUT", "PYTHON", "Machine", "MachineGone", "Ran"]

BOOT_TIMEOUT = 240.0
"""Seconds: an emulated processor takes 15 to 25 on an idle machine, and tests share theirs."""

_PIECE = 256 * 1024  # bytes of a file in one request
_CONSOLE = (
    "console=ttyS0 root=/dev/vda rw quiet systemd.show_status=no net.ifnames=0 mitigations=off panic=-1"
)


class Ran(NamedTuple):
    """What a command in the guest ended with; ``code`` is None where it took too long and was ended."""

    code: int | None
    out: str


class Machine:
    """One machine with a disk of its own in ``folder``, off until `boot`.

    Args:
        disk: what its disk starts as.
        folder: its own; holds its disk's changes, its sockets (keep the path short) and ``console.log``.
        name: for messages.
        memory: megabytes.
        ports: names of virtio serial ports, ``/dev/virtio-ports/NAME`` in the guest; the other end is `port`.

    """

    def __init__(
        self,
        disk: recipe.Disk,
        folder: Path,
        *,
        name: str = "box",
        memory: int = 512,
        ports: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.folder = folder
        self.console = folder / "console.log"
        self._disk = disk
        self._memory = memory
        self._ports = tuple(ports)
        self._process = Process(name, folder / "qemu.log")
        self._qmp: Qmp | None = None
        self._agent: Agent | None = None
        self._overlay = folder / "disk.qcow2"
        self._places: list[str] = []

    # --- power

    def boot(
        self,
        timeout: float = BOOT_TIMEOUT,
        *,
        settled: bool = True,
        plugged: Mapping[str, Path] | None = None,
    ) -> float:
        """Switch it on and return the seconds until it answers, or is ``settled``: has started all.

        ``plugged`` is what is in its USB ports before its kernel looks, as for `plug`.
        """
        started = time.monotonic()
        deadline = started + timeout
        if not self._overlay.exists():
            base = ["-F", "raw", "-b", str(self._disk.image)]
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", "qcow2", *base, str(self._overlay)], check=True, timeout=30
            )
        self._process.launch(self._command())
        try:
            self._qmp = eventually(self._connect_qmp, 20, what="qemu's control port")
            for name, to in (plugged or {}).items():
                self.plug(name, to)
            self._agent = Agent(self._socket("agent"))
            self._agent.ask({"do": "run", "command": "true", "timeout": 30.0}, timeout)
            if settled:
                # Its code tells whether a unit failed, which is the tests' business.
                self.run("systemctl is-system-running --wait", max(1.0, deadline - time.monotonic()))
        except BaseException as error:
            error.add_note(f"{self.name}'s console ended with:\n{self.said(25)}")
            self.kill()
            raise
        return time.monotonic() - started

    def kill(self) -> None:
        """Cut the power."""
        self._process.kill()
        self._disconnect()

    def stop(self, timeout: float = 90.0) -> None:
        """Shut down as ``systemctl poweroff`` does; one that does not go within ``timeout`` is cut off."""
        if self._process.running:
            with contextlib.suppress(MachineGone, AssertionError):
                self.run("systemctl --no-block poweroff", 20)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"{self.name} did not shut down within {timeout} s:\n{self.said()}"
                ) from None
        self._disconnect()

    def reboot(self, timeout: float = BOOT_TIMEOUT) -> float:
        """Shut down and boot; returns the seconds of the boot."""
        self.stop()
        return self.boot(timeout)

    @property
    def running(self) -> bool:
        """Whether it has power."""
        return self._process.running

    def said(self, lines: int = 60) -> str:
        """Return the last lines of its console, of all its boots."""
        if not self.console.exists():
            return ""
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])

    # --- commands and files

    def run(self, command: str, timeout: float = 60.0) -> Ran:
        """Run a shell command as root; stdout and stderr come together. Threads may run several at once.

        Raises:
            MachineGone: it lost its power meanwhile.

        """
        answer = self._ask({"do": "run", "command": command, "timeout": timeout}, timeout + 30)
        return Ran(answer["code"], base64.b64decode(answer["data"]).decode(errors="replace"))

    def must(self, command: str, timeout: float = 60.0) -> str:
        """Run a command that must succeed; returns what it said, without white space at the ends."""
        ran = self.run(command, timeout)
        assert ran.code == 0, f"{self.name}: {command}: ended with {ran.code}: {ran.out}"
        return ran.out.strip()

    def wait_for(self, command: str, timeout: float = 30.0) -> str:
        """Run a command until it succeeds; returns what it said."""
        last = Ran(None, "")

        def succeeded() -> bool:
            nonlocal last
            last = self.run(command, timeout)
            return last.code == 0

        try:
            eventually(succeeded, timeout, what=f"{self.name}: {command}")
        except AssertionError as error:
            error.add_note(f"it said: {last.out}")
            raise
        return last.out.strip()

    def spawn(
        self, unit: str, command: str, *, env: dict[str, str] | None = None, properties: Sequence[str] = ()
    ) -> None:
        """Start a command as the transient unit ``unit``; `journal` has what it says."""
        options = [f"--setenv={key}={value}" for key, value in (env or {}).items()]
        options += [f"--property={each}" for each in properties]
        self.must(
            shlex.join(
                [
                    "systemd-run",
                    "--quiet",
                    "--collect",
                    f"--unit={unit}",
                    *options,
                    "/bin/sh",
                    "-c",
                    f"exec {command}",
                ]
            )
        )

    def subscribe(self, unit: str, *topics: str, form: str = "%p") -> None:
        """Start a subscriber as the unit ``unit`` and wait until the broker has granted it ``topics``.

        A retained message on a topic of its own, asked for in the same SUBSCRIBE packet, says so.
        """
        ready = f"ready/{uuid.uuid4().hex}"
        self.must(f"mosquitto_pub -r -q 1 -t {ready} -m {ready}")
        wanted = shlex.join(word for topic in (*topics, ready) for word in ("-t", topic))
        self.spawn(unit, f"mosquitto_sub -F {shlex.quote(form)} {wanted}")
        self.wait_for(f"journalctl --no-pager -b -o cat -u {shlex.quote(unit)} | grep -q {ready}")

    def hold(self, path: str, unit: str = "holder", *, alone: bool = False) -> None:
        """Have a process, the unit ``unit``, keep a device open until the unit is stopped.

        ``alone``: as ModemManager does, so that nobody but root can open it too [ioctl_tty(2), TIOCEXCL].
        Not by a shell's redirection: that would make the port its terminal, whose hang-up ends it.
        """
        flags = "os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK"
        also = "fcntl.ioctl(port, termios.TIOCEXCL); " if alone else ""
        held = f"/run/{unit}.held"  # others may have it open too, so that it is open proves nothing
        code = (
            f"import fcntl, os, signal, termios; port = os.open({path!r}, {flags}); {also}"
            f"open({held!r}, 'w').close(); signal.pause()"
        )
        self.must(f"rm -f {held}")
        self.spawn(unit, shlex.join(["python3", "-c", code]))
        self.wait_for(f"test -e {held}")

    def journal(self, unit: str, lines: int = 200) -> str:
        """Return what a unit wrote since the machine booted."""
        return self.run(f"journalctl --no-pager -b -o cat -n {lines} -u {shlex.quote(unit)}").out

    def put(self, path: str, content: str | bytes | Path, mode: int = 0o644) -> None:
        """Write a file in the guest, folders included."""
        data = content.read_bytes() if isinstance(content, Path) else content
        data = data.encode() if isinstance(data, str) else data
        for offset in range(0, max(1, len(data)), _PIECE):
            piece = base64.b64encode(data[offset : offset + _PIECE]).decode()
            self._ask({"do": "put", "path": path, "data": piece, "mode": mode, "append": offset > 0}, 60)

    def get(self, path: str) -> bytes:
        """Read a file of the guest."""
        data = b""
        while True:
            asked = {"do": "get", "path": path, "offset": len(data), "size": _PIECE}
            piece = base64.b64decode(self._ask(asked, 60)["data"])
            data += piece
            if len(piece) < _PIECE:
                return data

    def put_tree(self, local: Path, remote: str, *names: str) -> None:
        """Copy ``names`` below the folder ``local`` (all of it if none) to the guest's folder ``remote``."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
            for each in names or [entry.name for entry in local.iterdir()]:
                tar.add(local / each, each, filter=_without_caches)
        self.put("/run/box.tar.gz", packed.getvalue())
        self.must(f"mkdir -p {remote} && tar -C {remote} -xzf /run/box.tar.gz && rm /run/box.tar.gz")

    def install(self) -> None:
        """Copy the tree in, its tests too: `PYTHON` finds it, and ``hologram-bridge`` is on the path."""
        self.put_tree(ROOT, recipe.PROJECT, "bridge", "config", "systemd", "tests", "pyproject.toml")
        self.put("/usr/local/bin/hologram-bridge", f'#!/bin/sh\nexec {PYTHON} -m bridge "$@"\n', 0o755)

    # --- wires

    def port(self, name: str) -> Path:
        """Return the Unix socket, served by qemu, of the virtio serial port ``name``: one peer at a time."""
        assert name in self._ports, f"{self.name} has no port {name}"
        return self._socket(name)

    def plug(self, name: str, to: Path) -> None:
        """Plug in a USB serial adapter (an FTDI chip, 0403:6001) whose line is the Unix socket ``to``.

        ``to`` is served by the peer: another machine's `port`, this one's, or a test's own socket. A name
        keeps its place on the bus and its serial number, which is the name: its by-id and by-path links
        are the same each time. qemu connects, and connects again, by itself; the first time is waited for.
        """
        assert self._qmp, f"{self.name} is off"
        if name not in self._places:
            self._places.append(name)
        address = {"type": "unix", "data": {"path": str(to)}}
        wire = {"type": "socket", "data": {"addr": address, "server": False, "reconnect": 1}}
        self._qmp.command("chardev-add", id=f"wire-{name}", backend=wire)
        self._qmp.command(
            "device_add",
            driver="usb-serial",
            id=f"usb-{name}",
            bus="xhci.0",
            port=str(self._places.index(name) + 1),
            chardev=f"wire-{name}",
            serial=name,
            **{"always-plugged": True},
        )
        eventually(partial(self._wired, f"wire-{name}"), 20, what=f"somebody to serve {to}")

    def unplug(self, name: str) -> None:
        """Pull a USB serial adapter out, whatever it is doing; its line is hung up."""
        assert self._qmp, f"{self.name} is off"
        self._qmp.command("device_del", id=f"usb-{name}")
        self._qmp.event("DEVICE_DELETED", device=f"usb-{name}")
        self._qmp.command("chardev-remove", id=f"wire-{name}")

    @staticmethod
    def by_id(name: str) -> str:
        """Return the stable name that udev gives to what was plugged in as ``name``."""
        return f"/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_{name}-if00-port0"

    def monitor(self, command: str, **arguments: Any) -> Any:
        """Give qemu itself a command of its machine protocol (``stop``, ``cont``, ``query-chardev``…)."""
        assert self._qmp, f"{self.name} is off"
        return self._qmp.command(command, **arguments)

    # --- inside

    def _command(self) -> list[str]:
        disk = f"file={self._overlay},format=qcow2,if=virtio,cache=writeback,discard=unmap"
        command = [
            *("qemu-system-x86_64", "-name", self.name, "-nodefaults", "-display", "none", "-no-reboot"),
            *(*accelerator(self._disk), "-machine", "q35", "-smp", "2", "-m", str(self._memory)),
            *("-nic", "none", "-rtc", "base=utc", "-object", "rng-random,id=rng,filename=/dev/urandom"),
            *("-device", "virtio-rng-pci,rng=rng", "-drive", disk),
            *("-kernel", str(self._disk.kernel), "-initrd", str(self._disk.initrd), "-append", _CONSOLE),
            *("-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"),
            *("-qmp", f"unix:{self._socket('qmp')},server=on,wait=off"),
            *("-device", "qemu-xhci,id=xhci", "-device", "virtio-serial-pci"),
        ]
        for name, seen_as in (("agent", "box.agent"), *((each, each) for each in self._ports)):
            command += ["-chardev", f"socket,id={name},path={self._socket(name)},server=on,wait=off"]
            command += ["-device", f"virtserialport,chardev={name},name={seen_as}"]
        return command

    def _socket(self, name: str) -> Path:
        path = self.folder / f"{name}.sock"
        assert len(str(path)) < 104, f"{path}: too long a path for a Unix socket"
        return path

    def _wired(self, wire: str) -> bool:
        """Return whether a line has somebody at its other end: bytes are lost before."""
        lines = self.monitor("query-chardev")
        return any(
            each["label"] == wire and not each["filename"].startswith("disconnected") for each in lines
        )

    def _connect_qmp(self) -> Qmp | None:
        assert self._process.running, f"qemu did not start: {self._process.said(since_start=True)}"
        try:
            return Qmp(self._socket("qmp"))
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def _ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        assert self._agent, f"{self.name} is off"
        answer = self._agent.ask(request, timeout)
        assert "error" not in answer, f"{self.name}: {answer['error']}"
        return answer

    def _disconnect(self) -> None:
        if self._agent:
            self._agent.close()
        if self._qmp:
            self._qmp.close()
        self._agent = self._qmp = None


PYTHON = f"{recipe.VENV}/bin/python"
"""In the guest: a Python that has the bridge and what it needs."""


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if entry.name.endswith("__pycache__"):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
