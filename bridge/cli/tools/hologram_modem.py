"""``hologram modem`` and ``hologram network``: the modem, wherever it is [hologram-python 0.10].

A running bridge that has the modem answers by its control socket. Otherwise the command opens the modem's
port, as a script of the SDK does.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli.tools import common, hologram_link
from bridge.cli.tools.which_modem import bridge, modem
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.sdk.modem import Modem

Work = Callable[[argparse.Namespace], int]

RESULT_WAIT = 200.0
"""Seconds to wait for the bridge to connect, the default of the SDK's `connect`."""


@contextmanager
def _opened(config: Path | None) -> "Iterator[Modem]":
    found = modem(config)
    try:
        yield found
    finally:
        found.close()


# -- hologram modem ----------------------------------------------------------------------------------------


def _print_fact(words: str, key: str, attribute: str) -> Work:
    """Return a command that prints one fact: ``key`` of the bridge, or ``attribute`` of the SDK's modem."""

    def work(args: argparse.Namespace) -> int:
        running = bridge(args.config)
        if running is not None:
            value = running.ask("info")[key]
        else:
            with _opened(args.config) as found:
                value = getattr(found, attribute)
        print(f"{words}: {value}")
        return 0

    return work


def _command(args: argparse.Namespace, text: str, timeout: float | None = None) -> tuple[str, list[str]]:
    """Send the AT command ``text``; return its result, as the SDK names it, and the lines of the answer."""
    running = bridge(args.config)
    if running is not None:
        said = running.ask("at", text=text, timeout=timeout or common.DEFAULT_TIMEOUT)
        return ("Error" if said["refused"] else "OK"), list(said["lines"])
    with _opened(args.config) as found:
        result, lines = found.command(text[2:], timeout=timeout)
    return result, [lines] if isinstance(lines, str) else lines


def _signal(args: argparse.Namespace) -> int:
    while True:
        result, lines = _command(args, "AT+CSQ")
        known = [line.partition(":")[2].strip() for line in lines if line.startswith("+CSQ")]
        print(f"Signal strength: {known[0] if result == 'OK' and known else '99,99'}", flush=True)
        if not args.repeat:
            return 0
        print(f"waiting for {args.repeat} seconds...", flush=True)
        time.sleep(args.repeat)


def _at(args: argparse.Namespace) -> int:
    given = args.command or ""
    text = given if given[:2].upper() == "AT" else f"AT{given}"
    result, lines = _command(args, text, args.timeout)
    print(f"Response: {''.join(lines)}\n{result}")
    return 0 if result == "OK" else 1


def _location(args: argparse.Namespace) -> int:
    from bridge.sdk.engine.modem_facts import location_of

    running = bridge(args.config)
    with _opened(args.config) as found:  # the port opens at the first access
        place = location_of(running.ask("location")) if running is not None else found.location
    print(f"Location: {'Not Available' if place is None else json.dumps(vars(place))}")
    return 0 if place is not None else 1


def _reset(args: argparse.Namespace) -> int:
    running = bridge(args.config)
    if running is not None:
        running.ask("reset")
    else:
        with _opened(args.config) as found:
            found.reset()
    print("Restarted modem")
    return 0


def _radio(on: bool) -> Work:
    def work(args: argparse.Namespace) -> int:
        if bridge(args.config) is not None:
            good = _network_command(args, "radio_on" if on else "radio_off")
        else:
            with _opened(args.config) as found:
                good = found.radio_power(on)
        word = "enable" if on else "disable"
        print(f"Modem radio {word}d" if good else f"Failure to {word} radio")
        return 0 if good else 1

    return work


# -- hologram network --------------------------------------------------------------------------------------


def _network_command(args: argparse.Namespace, command: str) -> bool:
    """Let the running bridge carry ``command`` out; return whether it succeeded, else print the reason."""
    from bridge.cli.tools.via_bridge import Bridge as Broker

    with Broker(args.config) as broker:
        result = broker.request("network/set", {"command": command}, RESULT_WAIT)
    if result["state"] != "done":
        hologram_link.complain(str(result["description"]))
    return bool(result["state"] == "done")


def connect(args: argparse.Namespace) -> int:
    """Connect over PPP: by the running bridge, otherwise by a process that outlives this one."""
    try:
        if bridge(args.config) is not None:
            good = _network_command(args, "connect")
        else:
            good = hologram_link.start(args.config)
    except BridgeError as exc:
        hologram_link.complain(str(exc))
        good = False
    print("PPP session started" if good else "Failed to start PPP")
    return 0 if good else 1


def disconnect(args: argparse.Namespace) -> int:
    """End the connection that `connect` made; succeed where there is none."""
    print("Checking for existing PPP sessions", flush=True)
    if bridge(args.config) is not None:
        return 0 if _network_command(args, "disconnect") else 1
    hologram_link.stop()
    return 0


def _deprecated(name: str, work: Work) -> Work:
    def old(args: argparse.Namespace) -> int:
        print(f'Note: "hologram modem {name}" is deprecated in favor of "hologram network {name}"')
        return work(args)

    return old


COMMANDS: dict[str, tuple[str, Work]] = {
    "connect": ("connect, as hologram network connect", _deprecated("connect", connect)),
    "disconnect": ("disconnect, as hologram network disconnect", _deprecated("disconnect", disconnect)),
    "sim": ("the SIM's number", _print_fact("ICCID", "iccid", "iccid")),
    "operator": ("the network that the modem is in", _print_fact("Operator", "operator", "operator")),
    "signal": ("the radio signal", _signal),
    "type": ("the kind of modem", _print_fact("Type", "kind", "description")),
    "location": ("where the modem is, if it has the means", _location),
    "reset": ("restart the modem", _reset),
    "radio-on": ("switch the radio on", _radio(True)),
    "radio-off": ("switch the radio off", _radio(False)),
    "command": ("give an AT command and show the answer", _at),
    "version": ("the modem's firmware", _print_fact("Modem version", "firmware", "version")),
    "imei": ("the modem's IMEI", _print_fact("IMEI", "imei", "imei")),
}
"""The commands of ``hologram modem``: help text and function."""
