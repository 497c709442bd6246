"""``hologram-bridge add-on``: the start inside Home Assistant's add-on.

The add-on's options become variables of the environment, which beat the file. They have the names of the keys
of the configuration, so that a wrong option is told as `check-config` tells it. The broker and its login come
from the Supervisor, unless the options name another. Then this process becomes the daemon.
"""

import argparse
import json
import os
import pwd
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bridge.cli.ending import end_at_sigterm
from bridge.cli.screen import say
from bridge.errors import ConfigError, OperationError

PREFIX = "HOLOGRAM_BRIDGE"

OPTIONS, DATA, CONFIG = Path("/data/options.json"), Path("/data"), Path("/config/bridge.hjson")
"""The options, the folder that updates and backups keep, and the file for the keys that are no options
[Home Assistant developer docs, "Add-on configuration": /data, addon_config]."""

OUTBOX = Path("outbox/outbox.db")
"""The outbox below `DATA`, in a folder of its own: what else is there is not the bridge's to change."""

SUPERVISOR = "http://supervisor"
"""The Supervisor's address for add-ons [Home Assistant developer docs, "Add-on communication"]."""

ASK_EVERY = 5.0
"""Seconds between questions for a broker. It may be installed, or started, after the bridge."""

PPP = Path("/dev/ppp")
SERIAL_PORTS = ("ttyUSB*", "ttyACM*")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    text = "run the bridge inside Home Assistant's add-on, by its options"
    parser = subparsers.add_parser("add-on", help=text, description=f"{text[0].upper()}{text[1:]}.")
    for name, default, meaning in (
        ("--options", OPTIONS, "the add-on's options"),
        ("--data", DATA, "folder for the outbox"),
        ("--config", CONFIG, "configuration file for further keys, if it is there"),
    ):
        shown = f"{meaning} (default: {default})"
        parser.add_argument(name, metavar="PATH", type=Path, default=default, help=shown)
    parser.add_argument(
        "--supervisor", metavar="URL", default=SUPERVISOR, help=f"the Supervisor (default: {SUPERVISOR})"
    )
    parser.add_argument("--user", metavar="NAME", help="user to become where root is not needed")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Become the daemon; raises `ConfigError` for wrong options, `OperationError` without a broker."""
    from bridge.settings import load

    end_at_sigterm()
    options = _read(args.options)
    variables = dict(_variables(options))
    variables[f"{PREFIX}__STORE__PATH"] = str(args.data / OUTBOX)
    config = args.config if args.config.exists() else None
    if config is None and not options.get("credentials"):
        raise ConfigError("credentials.devicekey: is missing; enter it on the add-on's page, Configuration")
    environ = {**os.environ, **variables}
    settings = load(config, environ).settings
    if f"{PREFIX}__MQTT__HOST" not in variables:
        environ |= _offered(args.supervisor)
    if args.user:
        by_ppp = settings.network.interface.startswith("cellular") and PPP.exists()
        _become(args.user, args.data / OUTBOX, root=by_ppp)
    # A new program, without what only the start needed in memory.
    command = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    words = [*command, "run", *(["-c", str(config)] if config else [])]
    os.execve(sys.executable, words, environ)  # noqa: S606  this very program


def _read(path: Path) -> dict[str, Any]:
    """Return the options without those that are empty."""
    try:
        options = json.loads(path.read_bytes())
    except OSError as exc:
        raise OperationError(f"{path} cannot be read ({exc.strerror}); is this an add-on?") from exc
    except ValueError as exc:
        raise ConfigError(f"{path}: is not JSON") from exc
    if not isinstance(options, dict):
        raise ConfigError(f"{path}: is not an object")
    full = {name: _filled(section) for name, section in options.items()}
    return {name: section for name, section in full.items() if section not in (None, "", {}, [])}


def _filled(section: object) -> object:
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if value not in (None, "")}


def _variables(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the variable of each option."""
    for name, section in options.items():
        if name == "notify":
            yield f"{PREFIX}__HOME_ASSISTANT__NOTIFY", json.dumps(section)
        elif isinstance(section, dict):
            for key, value in section.items():
                if (text := _text(name, key, value)) is not None:
                    yield f"{PREFIX}__{name.upper()}__{key.upper()}", text
        else:
            yield f"{PREFIX}__{name.upper()}", _plain(section)


def _text(section: str, key: str, value: object) -> str | None:
    """Return an option's text; None for one that says what the default is."""
    if (section, key, value) == ("network", "interface", "none"):
        return ""
    if (section, key) == ("mqtt", "tls"):
        return "{}" if value is True else None
    return _plain(value)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _offered(url: str) -> dict[str, str]:
    """Return the variables of the broker that the Supervisor knows, once it knows one."""
    from bridge.adapters.system.supervisor import NotOffered, broker

    token = os.environ.get("SUPERVISOR_TOKEN")
    if not token:
        raise OperationError("SUPERVISOR_TOKEN is not set, so that no broker can be asked for; set mqtt.host")
    said = ""
    while True:
        try:
            found = broker(url, token)
            break
        except NotOffered as exc:
            if str(exc) != said:
                said = str(exc)
                say(
                    f"hologram-bridge: no MQTT broker yet ({said}): install and start the add-on Mosquitto "
                    f"broker, or set mqtt.host; asked again every {ASK_EVERY:g} s",
                    error=True,
                )
            time.sleep(ASK_EVERY)
    given = {"HOST": found.host, "PORT": str(found.port), "TLS": "{}" if found.tls else ""}
    login = {"USERNAME": found.username or "", "PASSWORD": found.password or ""}
    return {f"{PREFIX}__MQTT__{key}": text for key, text in {**given, **login}.items()}


def _become(name: str, outbox: Path, *, root: bool) -> None:
    """Give the outbox to a user and become it; with ``root`` to root, which alone may start pppd."""
    user = pwd.getpwuid(0) if root else pwd.getpwnam(name)
    outbox.parent.mkdir(mode=0o750, exist_ok=True)
    for path in (outbox.parent, *outbox.parent.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    if root:
        return
    ports = {port.stat().st_gid for pattern in SERIAL_PORTS for port in Path("/dev").glob(pattern)}
    os.setgroups(sorted({*os.getgrouplist(name, user.pw_gid), *ports}))
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
