"""The root unit's command: what it acts on, what it refuses, and what it tells systemd."""

import contextlib
import errno
import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bridge.adapters.system.root_paths import trusted_file, trusted_port
from bridge.cli.dial import wanted
from bridge.errors import OperationError

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

pytestmark = pytest.mark.root


class Done(NamedTuple):
    """How the command ended: its exit code, its one line, what systemd was told, and all that it said."""

    code: int
    line: str
    told: list[str]
    all: str


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is root's alone, as no temporary one is."""
    path = Path(tempfile.mkdtemp(prefix="hologram-test-", dir="/run"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def port() -> Iterator[str]:
    """A serial port of root's; its far side says nothing."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.chown(name, 0, -1)
    os.close(slave)
    yield name
    os.close(master)


def write(folder: Path, network: str, mode: int = 0o640) -> Path:
    path = folder / "bridge.hjson"
    path.write_text(f'{{ credentials: {{ devicekey: "abcd1234" }}, network: {{ {network} }} }}')
    path.chmod(mode)
    return path


def dial(config: Path, *before: str) -> Done:
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{place}/notify")
        os.chmod(f"{place}/notify", 0o666)  # noqa: PTH101  a path of text
        os.chmod(place, 0o755)  # noqa: PTH101
        done = subprocess.run(
            [*before, sys.executable, "-m", "bridge", "dial", "-c", str(config)],
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": f"{place}/notify"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        systemd.setblocking(False)
        told = []
        with contextlib.suppress(BlockingIOError):
            while True:
                told += systemd.recv(4096).decode().splitlines()
    lines = [line for line in done.stderr.splitlines() if line.startswith("hologram-bridge: ")]
    assert "Traceback" not in done.stderr
    return Done(done.returncode, lines[-1] if lines else done.stderr, told, done.stderr)


def test_why_there_is_no_link_stands_in_the_status_line(folder: Path, port: str) -> None:
    """The command ends with 1 and one line; systemd is told the same, and never that it is ready."""
    done = dial(write(folder, f'interface: "cellular-nova-u201", device: "{port}"'))
    assert done.code == 1
    assert done.told[0] == f"STATUS=dialling on {port}"
    said = [each for each in done.told if each.startswith("STATUS=")]
    assert said[-1] == f"STATUS={done.line.removeprefix('hologram-bridge: ')}"
    assert "READY=1" not in done.told
    # pppd itself says so where the kernel has no PPP; elsewhere the silent port is the reason.
    assert ("/dev/ppp" if not Path("/dev/ppp").exists() else "right port") in done.line


def test_a_port_that_another_program_has_is_told_with_its_own_number(folder: Path, port: str) -> None:
    """The status says who has it, and EBUSY, by which the bridge knows that it is no fault of the modem's."""
    ours = os.open(port, os.O_RDWR | os.O_NOCTTY)
    done = dial(write(folder, f'interface: "cellular-nova-u201", device: "{port}"'))
    os.close(ours)
    assert done.code == 1
    assert f"(process {os.getpid()})" in done.line
    assert done.told[-2:] == [f"STATUS={done.line.removeprefix('hologram-bridge: ')}", f"ERRNO={errno.EBUSY}"]


def test_a_mistake_in_the_configuration_does_not_keep_us_off_the_air(
    folder: Path, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is made as it was the last time, and the mistake is said; there must have been a last time."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    right = f'interface: "cellular-nova-u201", device: "{port}", ppp_password: "secret-word"'
    refused = dial(write(folder, right + ", pol: 7"))
    assert (refused.code, refused.told[-1]) == (78, f"ERRNO={errno.EINVAL}")
    assert dial(write(folder, right)).told[0] == f"STATUS=dialling on {port}"
    assert [each for each in folder.iterdir() if each.stat().st_mode & 0o077] == [folder / "bridge.hjson"]
    again = dial(write(folder, right + ", pol: 7"))
    assert (again.code, again.told[0]) == (1, f"STATUS=dialling on {port}")
    assert "network.pol: unknown key" in again.all
    assert "secret-word" not in again.all


def test_a_copy_that_others_can_change_is_refused(
    folder: Path, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as good as the configuration."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    dial(write(folder, f'interface: "cellular-nova-u201", device: "{port}"'))
    (folder / "network.json").chmod(0o646)
    done = dial(write(folder, "pol: 7"))
    assert done.code == 1
    assert "network.json can be changed by others than root" in done.line


Apn = Callable[[str | None], tuple[str, str]]


@pytest.fixture
def apn(folder: Path, caplog: pytest.LogCaptureFixture) -> Apn:
    """Return a function that returns the APN of a call, and all that was said about it."""

    def of(content: str | None) -> tuple[str, str]:
        store = folder / "outbox.db"
        config = write(folder, f'apn: "of.the.file" }}, store: {{ path: "{store}"')
        if content is not None:
            (folder / "outbox.db.apn").write_text(content)
        caplog.clear()
        return wanted(config)[0].apn, caplog.text

    return of


def test_the_apn_may_be_changed_from_afar(apn: Apn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is all that the bridge can choose; the environment counts more."""
    assert apn(None)[0] == "of.the.file"
    assert apn("from.afar")[0] == "from.afar"
    assert apn("from.afar\n")[0] == "from.afar"
    monkeypatch.setenv("HOLOGRAM_BRIDGE__NETWORK__APN", "of.the.environment")
    assert apn("from.afar")[0] == "of.the.environment"


def test_the_apn_from_afar_counts_with_a_mistake_in_the_file_too(
    folder: Path, apn: Apn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is repaired over this link; what is undone meanwhile is undone for the call as well."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    assert apn("from.afar")[0] == "from.afar"
    monkeypatch.setenv("HOLOGRAM_BRIDGE__NETWORK__POL", "7")
    assert apn(None)[0] == "from.afar"
    (folder / "outbox.db.apn").unlink()
    assert apn(None)[0] == "of.the.file"


@pytest.mark.parametrize(
    "content", ["", "a b", "x" * 101, "from.afar\n\n", 'from.afar"', "\x00", "from.afar\nfrom.afar", "ä"]
)
def test_what_is_no_apn_is_ignored_with_a_line(folder: Path, apn: Apn, content: str) -> None:
    """A bridge that was taken over writes what it likes."""
    found, said = apn(content)
    assert found == "of.the.file"
    assert f"{folder}/outbox.db.apn: " in said
    assert "it is ignored" in said


def test_a_link_in_place_of_the_apn_is_not_followed(folder: Path, apn: Apn) -> None:
    """Neither a symbolic nor a hard one, nor a pipe, which would never end."""
    secret, place = folder / "secret", folder / "outbox.db.apn"
    secret.write_text("from.afar")
    place.symlink_to(secret)
    assert apn(None)[0] == "of.the.file"
    place.unlink()
    os.chown(secret, NOBODY, NOBODY)
    place.hardlink_to(secret)
    found, said = apn(None)
    assert found == "of.the.file"
    assert "belongs to another user than its folder" in said
    place.unlink()
    os.mkfifo(place)
    assert apn(None)[0] == "of.the.file"


@pytest.mark.parametrize("mode", [0o646, 0o660])
def test_a_configuration_that_others_can_change_is_refused(folder: Path, port: str, mode: int) -> None:
    """The bridge's own user must not have a say in what root does."""
    config = write(folder, f'interface: "cellular", device: "{port}"', mode)
    os.chown(config, 0, NOBODY)
    done = dial(config)
    assert done.code == 1
    assert f"{config} can be changed by others than root" in done.line
    assert done.told == [f"STATUS={done.line.removeprefix('hologram-bridge: ')}", f"ERRNO={errno.EINVAL}"]


def test_a_configuration_in_somebody_elses_folder_is_refused(tmp_path: Path, port: str) -> None:
    """Whoever may write to a folder on the way can exchange the file."""
    done = dial(write(tmp_path, f'interface: "cellular", device: "{port}"'))
    assert done.code == 1
    assert "can be changed by others" in done.line


@pytest.mark.parametrize(
    ("network", "code", "word"),
    [
        ('interface: ""', 78, "network.interface"),
        ('interface: "wifi"', 78, "network.interface"),
        ('interface: "cellular", apn: "x;reboot"', 78, "network.apn"),
        ('interface: "cellular", device: "/dev/null"', 1, "not a serial port"),
        ('interface: "cellular", device: "/etc/passwd"', 1, "not a serial port"),
        ('interface: "cellular", device: "/dev/ttyUSB-none"', 1, "is not there"),
        ('interface: "cellular", device: "/dev/tty1"', 1, "/dev/tty1"),
        ('interface: "cellular", device: ["/dev/null", "/dev/zero"]', 1, "/dev/zero"),
    ],
)
def test_what_it_may_not_dial_on_is_refused(folder: Path, network: str, code: int, word: str) -> None:
    """A machine's own network, a name that is no serial port, an APN that a shell could misread."""
    done = dial(write(folder, network))
    assert done.code == code
    assert word in done.line


def test_without_root_it_says_what_to_do(folder: Path, port: str) -> None:
    """It is the unit's command."""
    config = write(folder, f'interface: "cellular", device: "{port}"', 0o644)
    done = dial(config, "setpriv", f"--reuid={NOBODY}", "--clear-groups")
    assert done.code == 1
    assert "needs root" in done.line


def test_a_port_of_somebody_elses_is_refused(port: str) -> None:
    """Only root's devices are dialled on."""
    assert trusted_port(Path(port)) == Path(port)
    os.chown(port, NOBODY, -1)
    with pytest.raises(OperationError, match="does not belong to root"):
        trusted_port(Path(port))


def test_a_link_is_followed_only_through_folders_of_roots(folder: Path, tmp_path: Path, port: str) -> None:
    """Root's own links are good, relative ones and chains too; one that others can bend is not."""
    (folder / "deep").mkdir()
    (folder / "modem").symlink_to(port)
    (folder / "deep/again").symlink_to("../modem")
    assert trusted_port(folder / "deep/again") == Path(port)
    (tmp_path / "modem").symlink_to(port)
    with pytest.raises(OperationError, match="can be changed"):
        trusted_port(tmp_path / "modem")
    (folder / "bent").symlink_to(tmp_path / "modem")
    with pytest.raises(OperationError, match="can be changed"):
        trusted_port(folder / "bent")


def test_links_in_a_circle_are_refused(folder: Path) -> None:
    """They end, and with a reason."""
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    with pytest.raises(OperationError, match="circle"):
        trusted_file(folder / "a")


def test_a_folder_of_somebody_elses_on_the_way_is_refused(folder: Path) -> None:
    """A file of root's in it can be exchanged by its owner."""
    (folder / "theirs").mkdir()
    file = folder / "theirs/chat"
    file.write_text("")
    file.chmod(0o644)
    assert trusted_file(file) == file
    os.chown(folder / "theirs", NOBODY, -1)
    with pytest.raises(OperationError, match="can be changed"):
        trusted_file(file)


def test_only_files_are_files(folder: Path) -> None:
    """A folder, a device and a relative path are not."""
    for path, word in ((folder, "not a file"), (Path("/dev/null"), "not a file"), (Path("chat"), "absolute")):
        with pytest.raises(OperationError, match=word):
            trusted_file(path)
