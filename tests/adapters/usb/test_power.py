"""The USB power by its unit: what systemctl is asked, and what becomes of its answers."""

import asyncio
from pathlib import Path

import pytest

from bridge.adapters.usb import power as usb_unit
from bridge.cli.usb_power import allowed
from bridge.errors import OperationError


def fake(folder: Path, body: str) -> str:
    """Write a systemctl that notes its words and then does ``body``."""
    program = folder / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\n{body}\n')
    program.chmod(0o755)
    return str(program)


def cycle(program: str, place: str = "1-1.2", timeout: float = 30.0) -> None:
    async def go() -> None:
        await usb_unit.power_cycle(asyncio.get_running_loop(), place, program=program, timeout=timeout)

    asyncio.run(go())


def test_it_starts_the_unit_of_the_place(tmp_path: Path) -> None:
    """One call, which nobody is asked a password for."""
    cycle(fake(tmp_path, "exit 0"))
    assert (tmp_path / "asked").read_text() == "--no-ask-password start hologram-usb-power@1-1.2.service\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("Failed to start x: Access denied", "polkit rule is missing"),
        ("Interactive authentication required.", "polkit rule is missing"),
        ("Job for x failed because the control process exited with error code.", "journalctl -u"),
        ("", "failed"),
    ],
)
def test_a_refusal_or_failure_says_what_to_do(tmp_path: Path, answer: str, words: str) -> None:
    """What systemctl says decides which."""
    with pytest.raises(OperationError, match=words):
        cycle(fake(tmp_path, f"echo '{answer}' >&2; exit 1"))


def test_one_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """The recovery goes on."""
    with pytest.raises(OperationError, match="not done within"):
        cycle(fake(tmp_path, "exec sleep 30"), timeout=0.2)


def test_without_systemctl_it_says_so(tmp_path: Path) -> None:
    """In one line."""
    with pytest.raises(OperationError, match="could not be run"):
        cycle(str(tmp_path / "none"))


@pytest.mark.parametrize("place", ["", "1", "1-", "usb1", "1-1/../..", "1-1.2 x", "-h", "1-1\n", "\uff11-1"])
def test_what_is_no_place_is_refused_before_anything_is_asked(tmp_path: Path, place: str) -> None:
    """Nothing reaches systemd that is not a bus, a port, and hubs."""
    with pytest.raises(OperationError, match="no place on the USB"):
        cycle(fake(tmp_path, "exit 0"), place)
    assert not (tmp_path / "asked").exists()


def device(sys: Path, place: str, usb_id: str) -> None:
    folder = sys / "bus/usb/devices" / place
    folder.mkdir(parents=True)
    vendor, product = usb_id.split(":")
    (folder / "idVendor").write_text(vendor + "\n")
    (folder / "idProduct").write_text(product + "\n")


def test_root_switches_known_modems_only(tmp_path: Path) -> None:
    """A modem without ports counts; a disk, a hub, and a place where nothing is do not."""
    device(tmp_path, "1-1.2", "1546:1102")
    device(tmp_path, "1-1.3", "0781:5581")
    assert allowed("1-1.2", tmp_path) == "1-1.2"
    for place in ("1-1.3", "1-1", "2-1"):
        with pytest.raises(OperationError, match="no known modem"):
            allowed(place, tmp_path)
