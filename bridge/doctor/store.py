"""Checks of the bridge itself: the daemon, the outbox, the inbound port."""

import os
import shlex
import socket
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bridge.adapters.system import holders
from bridge.doctor.context import Context, text_of
from bridge.doctor.finding import Finding, fail, ok, skipped, warn
from bridge.doctor.fixes import stop
from bridge.errors import WHO_MAY, StoreError, StoreInUse
from bridge.store.disk import find_file
from bridge.store.owner import as_owner
from bridge.store.reserve import SIZE

CHECKED_SIZE = 64 * 1024 * 1024
"""Number of bytes up to which the whole file is read."""

ASIDE = "sudo hologram-bridge queue set-aside lists what the broker did not take"
ASIDE_SINCE = 3
"""Version of the outbox from which on it can set messages and reports aside."""

OLD = 3600.0
"""Seconds after which a waiting message is reported."""


def daemon(context: Context) -> Finding:
    """Check whether the bridge runs, and report its state."""
    found = context.daemon
    if found is None and context.forbidden:
        return skipped("bridge", "this user may not query it", WHO_MAY)
    if found is None:
        fix = "sudo systemctl enable --now hologram-bridge; journalctl -u hologram-bridge shows why it ended"
        return warn("bridge", "not running", fix)
    if found.stats is None:
        return fail(
            "bridge",
            f"process {found.pid} does not answer",
            "sudo systemctl restart hologram-bridge; journalctl -u hologram-bridge shows what it did last",
        )
    state, last = found.stats["state"], found.stats["last_error"]
    seen = f"runs (process {found.pid}) for {found.stats['uptime']:.0f} s, state {state}"
    if last:
        seen += f"; last error, {last['at']}: {last['component']}: {last['description']}"
    return (
        ok("bridge", seen)
        if state == "ok"
        else warn("bridge", seen, _state_remedy(state, context.settings.mqtt.prefix))
    )


def _state_remedy(state: str, prefix: str) -> str:
    return {
        "paused": f"mosquitto_pub -q 1 -t {prefix}/queue/set -m resume",
        "auth_failed": "compare the credentials with Hologram's dashboard, and reload",
        "store_full": f"free some space on its disk: it takes messages again once {2 * SIZE} bytes are free",
        "reports_full": "the broker accepts no reports: see its findings",
    }.get(state, "see the findings of the cloud and of the outbox")


def outbox(context: Context) -> Finding:
    """Report what waits, and check whether the file is intact."""
    path = context.settings.store.path
    if context.daemon:
        stats = context.daemon.stats
        return _waiting(stats) if stats else skipped("outbox", "the bridge holds it and does not answer")
    if context.forbidden:
        return skipped("outbox", "a bridge that this user may not query may hold it", WHO_MAY)
    try:
        return _closed(path)
    except StoreInUse as exc:
        return fail(
            "outbox",
            str(exc),
            "stop that process, or set control.path to what it was when that process started",
        )
    except StoreError as exc:
        return fail("outbox", str(exc), f"remove it (sudo rm {shlex.quote(str(path))}), or set store.path")
    except OSError as exc:
        return skipped("outbox", f"{path}: {exc.strerror}", "run it with sudo")


def _closed(path: Path) -> Finding:
    """Check the outbox of a bridge that does not run."""
    from bridge.store.database import Lock

    if os.path.lexists(path):
        with as_owner(path), ExitStack() as stack:
            stack.callback(Lock(path).release)
            if (found := find_file(path)).exists():
                return _on_file(found)
    return ok("outbox", f"there is none at {path} yet")


def _waiting(stats: dict[str, Any]) -> Finding:
    queue, bad = stats["queue"], [each for each in stats["destinations"] if each["condition"] != "up"]
    oldest = queue["oldest_age"]
    seen = f"{queue['messages']} messages, {queue['bytes']} bytes"
    seen += f", the oldest for {oldest:.0f} s" if oldest else ""
    aside = stats["set_aside"]
    seen += f"; {aside} set aside" if aside else ""
    if bad:
        text = "; ".join(
            f"{each['to'] or 'the cloud'}: {each['condition']}, {each['reason']}" for each in bad
        )
        fix = "see the findings of the cloud; retry now: sudo hologram-bridge queue retry"
        held = any(each["condition"] == "held" for each in bad)
        return (fail if held else warn)("outbox", f"{seen}; {text}", fix)
    if oldest and oldest > OLD:
        return warn("outbox", seen, "list what waits: sudo hologram-bridge queue list")
    if aside:
        return warn("outbox", seen, ASIDE)
    return ok("outbox", seen)


def _on_file(path: Path) -> Finding:
    from bridge.store.database import MIGRATIONS

    size = path.stat().st_size
    fix = "start the bridge: it recovers what can be read, and keeps the damaged file"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] > len(MIGRATIONS):
                newer = f"{path} was written by a newer version of hologram-bridge"
                return fail("outbox", newer, "install that version again; this one does not touch the file")
            whole = "ok"
            if size <= CHECKED_SIZE:
                whole = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            messages, number = connection.execute(
                "SELECT count(*), coalesce(sum(length(payload)), 0) FROM message"
            ).fetchone()
            aside = _set_aside(connection)
            oldest = connection.execute(
                "SELECT queued_mono + lead FROM message JOIN boot ON boot.id = boot ORDER BY seq LIMIT 1"
            ).fetchone()
    except sqlite3.Error as exc:
        return fail("outbox", f"{path}: {exc}", fix)
    if whole != "ok":
        return fail("outbox", f"{path} is damaged: {whole}", fix)
    since = f", the oldest for {max(0.0, time.time() - oldest[0]):.0f} s" if oldest else ""
    checked = "intact" if size <= CHECKED_SIZE else f"{size} bytes, too large to check"
    seen = f"{messages} messages, {number} bytes{since}; {checked}"
    return warn("outbox", f"{seen}; {aside} set aside", ASIDE) if aside else ok("outbox", seen)


def _set_aside(connection: sqlite3.Connection) -> int:
    """Return how much is set aside; a file of an earlier version has no place for it."""
    if connection.execute("PRAGMA user_version").fetchone()[0] < ASIDE_SINCE:
        return 0
    return int(connection.execute("SELECT count(*) FROM set_aside").fetchone()[0])


# -- inbound ---------------------------------------------------------------------------------------------


def inbound(context: Context) -> Finding:
    """Check that the inbound port is the bridge's, or free for it."""
    wanted = context.settings.inbound
    if not wanted.enabled:
        return skipped("inbound port", "off (inbound.enabled is false)")
    where = f"{wanted.host}:{wanted.port}"
    if context.daemon:
        figures = (context.daemon.stats or {}).get("inbound") or {}
        if figures.get("problem"):
            return fail("inbound port", figures["problem"], _taken(context))
        names = ", ".join(figures.get("listening", ()))
        return ok("inbound port", f"the bridge listens on {where} ({names})") if names else warn(
            "inbound port", f"the bridge does not listen on {where} yet", "run this again in a few seconds"
        )  # fmt: skip
    problem = _free(wanted.host, wanted.port, wanted.protocols)
    if problem:
        return fail("inbound port", f"{where} cannot be used: {problem}", _taken(context))
    return ok("inbound port", f"{where} is free for the bridge")


def _free(host: str, port: int, protocols: tuple[str, ...]) -> str | None:
    """Return why a port cannot be used, None if it can; it is released at once."""
    from bridge.adapters.inbound.port import open_socket

    for name in protocols:
        kind = socket.SOCK_STREAM if name == "tcp" else socket.SOCK_DGRAM
        try:
            open_socket(host, port, kind).close()
        except OSError as exc:
            return f"{exc.strerror} ({name})"
    return None


def _taken(context: Context) -> str:
    """Return who holds the port, as far as this user may see, as a fix."""
    port = context.settings.inbound.port
    pid = holders.of_port(port, ("tcp", "tcp6", "udp", "udp6"), context.proc)
    if pid is None:
        return f"find who holds it: sudo ss -lnp | grep {port}; or set inbound.port"
    name = text_of(context.proc / str(pid) / "comm") or "a program that just ended"
    return f"{name} (process {pid}) holds it: {stop(pid, context.proc)}, or set inbound.port"
