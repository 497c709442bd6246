"""The disk of the emulated machine: Debian bookworm by mmdebstrap, built once and kept in a cache.

The cache is ``$HOLOGRAM_BRIDGE_BOX_CACHE``, or ``hologram-bridge-box`` below ``$XDG_CACHE_HOME``
(``~/.cache``); a disk's folder there is named by a hash of all that goes into it. Packages come from where
this machine's apt gets its own; the bridge's Python dependencies from where its pip does.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

from tests.harness.process import ROOT

TOOLS = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs")
"""What must be installed; ``.ci/box-packages`` sees to it."""

SUITE = "bookworm"
PYTHON = "3.11"
"""The Python of that release."""

PACKAGES = (
    # The kernel that has PPP, USB serial and gadgets, and mac80211_hwsim; the cloud kernel has no radio.
    *("linux-image-amd64", "initramfs-tools", "zstd", "kmod"),
    *("systemd", "systemd-sysv", "udev", "dbus", "polkitd", "procps", "psmisc", "sudo"),
    *("python3", "python3-venv"),
    *("mosquitto", "mosquitto-clients"),
    *("ppp", "iproute2", "iputils-ping", "socat", "nftables"),
    *("network-manager", "wpasupplicant", "hostapd", "iw", "rfkill"),
    *("modemmanager", "openssl", "netcat-openbsd"),
)

QUIET_UNITS = (
    *("NetworkManager.service", "NetworkManager-wait-online.service", "wpa_supplicant.service"),
    *(
        "hostapd.service",
        "mosquitto.service",
        "ModemManager.service",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
    ),
)
"""Not started at boot: a test that needs one starts it."""

DISK_SIZE = "4G"
AGENT = Path(__file__).with_name("agent.py")
VENV = "/opt/venv"
"""In the guest: a Python with the bridge's dependencies; it also finds packages in `PROJECT`."""
PROJECT = "/opt/project"

_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
"""All that the initial RAM disk needs; a full one takes an emulated processor seconds to unpack."""

_UNIT = """\
[Unit]
Description=Does what the test asks
DefaultDependencies=no
After=systemd-udevd.service local-fs.target dev-virtio\\x2dports-box.agent.device
BindsTo=dev-virtio\\x2dports-box.agent.device
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/box-agent.py
KillMode=process
OOMScoreAdjust=-900
[Install]
WantedBy=dev-virtio\\x2dports-box.agent.device
"""

_ESSENTIAL = """\
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/box"
printf '%s\\n' {modules} >"$1/etc/initramfs-tools/modules"
"""

_CUSTOMIZE = """\
set -eu
install -m 755 {agent} "$1/usr/local/lib/box-agent.py"
cp {unit} "$1/etc/systemd/system/box-agent.service"
echo box >"$1/etc/hostname"
printf '127.0.0.1 localhost box\\n::1 localhost\\n' >"$1/etc/hosts"
printf '/dev/vda / ext4 defaults,errors=remount-ro 0 1\\n' >"$1/etc/fstab"
chroot "$1" passwd -d root
chroot "$1" systemctl enable box-agent.service
for unit in {quiet}; do rm -f "$1"/etc/systemd/system/*.wants/$unit; done
cp -r {wheels} "$1/opt/box-wheels"
chroot "$1" python3 -m venv {venv}
chroot "$1" {venv}/bin/pip --isolated install --quiet --no-index \\
    --find-links /opt/box-wheels -r /opt/box-wheels/requirements.txt
echo {project} >"$(echo "$1"{venv}/lib/python3.*/site-packages)/project.pth"
"""


class Disk(NamedTuple):
    """A built disk: what qemu boots from."""

    image: Path
    """Raw ext4, never written to: each machine writes to an overlay of its own."""
    kernel: Path
    initrd: Path
    seconds: float
    """What the build took; 0 where it came from the cache."""


class CannotBuild(Exception):
    """The disk cannot be built here; the text says why."""


def missing() -> str | None:
    """Say why no machine can run here, or None."""
    absent = [tool for tool in TOOLS if not _which(tool)]
    if absent:
        return f"not installed: {', '.join(absent)} (sh .ci/box-packages installs them)"
    if os.geteuid():
        return "only root can build the disk"
    return None


def disk() -> Disk:
    """Return the disk, built if the cache has none; one process builds, others wait for it.

    Raises:
        CannotBuild: no packages are to be had here, or no room.

    """
    folder = cache() / _key()
    folder.mkdir(parents=True, exist_ok=True)
    built = Disk(folder / "disk.raw", folder / "vmlinuz", folder / "initrd.img", 0.0)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if built.image.exists():
            return built
        started = time.monotonic()
        _build(folder)
        _forget_others(folder)
    return built._replace(seconds=time.monotonic() - started)


def cache() -> Path:
    """Return the folder that outlives a run."""
    own = os.environ.get("HOLOGRAM_BRIDGE_BOX_CACHE")
    return (
        Path(own)
        if own
        else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hologram-bridge-box"
    )


def dependencies() -> list[str]:
    """Return what the bridge needs of PyPI, the simulators included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["watch"]]


def _key() -> str:
    parts = [Path(__file__).read_bytes(), AGENT.read_bytes(), *(each.encode() for each in dependencies())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _build(folder: Path) -> None:
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    root = work / "root"
    _wheels(work / "wheels")
    _debootstrap(work, root)
    shutil.copy(root / "vmlinuz", folder / "vmlinuz")
    shutil.copy(root / "initrd.img", folder / "initrd.img")
    # Sparse, and under its final name only when it is whole.
    image = work / "disk.raw"
    _do(["mke2fs", "-q", "-t", "ext4", "-L", "box", "-d", str(root), str(image), DISK_SIZE], 300)
    image.rename(folder / "disk.raw")
    shutil.rmtree(work)


def _wheels(wheels: Path) -> None:
    """Collect the dependencies as wheels for the guest's Python."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    target = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux2014_x86_64"]
    _do([*pip, "download", "--dest", str(wheels), *target, *dependencies()], 300)
    (wheels / "requirements.txt").write_text("".join(f"{each}\n" for each in dependencies()))


def _debootstrap(work: Path, root: Path) -> None:
    unit = work / "box-agent.service"
    unit.write_text(_UNIT)
    essential = _script(work / "essential", _ESSENTIAL.format(modules=" ".join(_MODULES)))
    customize = _script(
        work / "customize",
        _CUSTOMIZE.format(
            agent=AGENT,
            unit=unit,
            wheels=work / "wheels",
            venv=VENV,
            project=PROJECT,
            quiet=" ".join(QUIET_UNITS),
        ),
    )
    sources = work / "sources.list"
    sources.write_text(_sources())
    exclude = [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("man", "doc", "locale")]
    _do(
        [
            *("mmdebstrap", "--mode=root", "--variant=apt", "--quiet", *exclude, *_apt_options()),
            *(f'--essential-hook={essential} "$1"', f'--customize-hook={customize} "$1"'),
            *(f"--include={','.join(PACKAGES)}", SUITE, str(root), str(sources)),
        ],
        900,
    )


def _sources() -> str:
    """Return where this machine's apt gets this suite from, in the form of sources.list(5)."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = _do(["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"], 60)
    lines = {line for line in targets.splitlines() if line.split()[1].startswith(SUITE)}
    if not lines:
        raise CannotBuild(f"apt here knows no source of Debian {SUITE} (apt-get update first?)")
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    signed = f"[signed-by={keyring}] " if keyring.exists() else ""
    return "".join(f"deb {signed}{line}\n" for line in sorted(lines))


def _apt_options() -> list[str]:
    """Return what this machine's apt was told of how to reach its sources."""
    lines = _do(["apt-config", "dump"], 60).splitlines()
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check", "Acquire::Retries", "Acquire::ForceIPv4")
    return [f"--aptopt={line}" for line in lines if line.startswith(wanted) and not line.endswith('"";')]


def _script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def _forget_others(folder: Path) -> None:
    """Remove the disks of other recipes: half a gigabyte each."""
    for other in folder.parent.iterdir():
        if other.is_dir() and other != folder and time.time() - other.stat().st_mtime > 24 * 3600:
            shutil.rmtree(other, ignore_errors=True)


def _which(tool: str) -> str | None:
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")


def _do(command: list[str], timeout: float) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "PATH": path},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"{command[0]} took longer than {timeout} s") from None
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-15:])
        raise CannotBuild(f"{command[0]} failed with {done.returncode}:\n{last}")
    return done.stdout
