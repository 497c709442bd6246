"""Home Assistant itself: a process with a configuration of its own, and its interfaces for programs."""

import base64
import hashlib
import hmac
import json
import re
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.harness import Keeper, Process, eventually, free_port
from tests.harness.process import ROOT
from tests.home_assistant.websocket import WebSocket

INSTALLER = ROOT / ".ci" / "home-assistant"
PROGRAM = ROOT / ".home-assistant" / "venv" / "bin" / "hass"

_CONFIGURATION = """\
homeassistant:
  name: Test
  latitude: 0
  longitude: 0
  elevation: 0
  unit_system: metric
  currency: EUR
  country: DE
  language: en
  time_zone: UTC
  packages: !include_dir_named packages
http:
  server_host: 127.0.0.1
  server_port: {port}
recorder:
  commit_interval: 0
api:
config:
history:
"""

_PROBLEM = re.compile(r"^\S+ \S+ (WARNING|ERROR|CRITICAL) ")

_OF_THIS_MACHINE = (
    "Skipping pip installation", "libturbojpeg", "libpcap", "ffmpeg", "bluetooth", "zeroconf",
    "ended unfinished session", "The system could not validate that the sqlite3 database",
)  # fmt: skip
"""What Home Assistant may complain of that is the machine's or the test's doing: it is killed at will."""


def install() -> str | None:
    """Install it where it is missing; return why it cannot be had, or None."""
    done = subprocess.run(["sh", str(INSTALLER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"Home Assistant could not be installed: {done.stderr[-2000:]}"
    return None if PROGRAM.exists() else done.stdout.strip()


class HomeAssistant(Process):
    """A Home Assistant in ``folder``; users' files are put into its ``packages`` before `start`."""

    def __init__(self, keeper: Keeper, folder: Path, broker_port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("home assistant", folder / "hass.log")
        self.folder = folder
        self.packages = folder / "packages"
        self.packages.mkdir(exist_ok=True)
        self.port = free_port()
        self._broker_port = broker_port
        self._token = ""
        (folder / "configuration.yaml").write_text(_CONFIGURATION.format(port=self.port))
        self._onboard()
        keeper.keep(self)

    # -- life --------------------------------------------------------------------------------------------

    def start(self, timeout: float = 90.0) -> None:
        """Start it and wait until it runs and its MQTT is connected."""
        self.launch([str(PROGRAM), "--config", str(self.folder), "--skip-pip"])
        eventually(self._runs, timeout, what="Home Assistant runs")
        entries = self.get("/api/config/config_entries/entry?domain=mqtt")
        if not entries:
            self._add_mqtt()

    def restart(self) -> None:
        """End it as a user does, and start it again."""
        self.stop(60)
        self.start()

    def _runs(self) -> bool:
        assert self.running, f"Home Assistant ended: {self.said(since_start=True)[-3000:]}"
        try:
            return bool(self.get("/api/config")["state"] == "RUNNING")
        except OSError:
            return False

    def _add_mqtt(self) -> None:
        """Add the integration as the user interface does."""
        flow = self.post("/api/config/config_entries/flow", {"handler": "mqtt"})
        broker = {"broker": "127.0.0.1", "port": self._broker_port}
        done = self.post(f"/api/config/config_entries/flow/{flow['flow_id']}", broker)
        assert done["type"] == "create_entry", done

    def _onboard(self) -> None:
        """Write what a user has done once: an owner with a token that lasts."""
        user, token, key = secrets.token_hex(16), secrets.token_hex(16), secrets.token_hex(64)
        groups = ("system-admin", "system-users", "system-read-only")
        now = int(time.time())
        refresh = {
            "id": token, "user_id": user, "client_id": None, "client_name": "tests", "client_icon": None,
            "token_type": "long_lived_access_token", "created_at": "2025-01-01T00:00:00+00:00",
            "access_token_expiration": 315360000.0, "token": secrets.token_hex(64), "jwt_key": key,
            "last_used_at": None, "last_used_ip": None, "expire_at": None, "credential_id": None,
            "version": None,
        }  # fmt: skip
        owner = {
            "id": user, "group_ids": ["system-admin"], "is_owner": True, "is_active": True,
            "name": "Owner", "system_generated": False, "local_only": False,
        }  # fmt: skip
        self._store("auth", 1, {
            "users": [owner],
            "groups": [{"id": name, "name": name} for name in groups],
            "credentials": [],
            "refresh_tokens": [refresh],
        })  # fmt: skip
        self._store("onboarding", 4, {"done": ["user", "core_config", "analytics", "integration"]})
        self._token = _signed({"iss": token, "iat": now, "exp": now + 315360000}, key)

    def _store(self, name: str, version: int, data: dict[str, Any]) -> None:
        folder = self.folder / ".storage"
        folder.mkdir(exist_ok=True)
        content = {"version": version, "minor_version": 1, "key": name, "data": data}
        (folder / name).write_text(json.dumps(content))

    # -- asking ------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """Return what the REST API has under ``path``."""
        return self._request("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Post ``body``; return the answer."""
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with self._open(method, path, data) as answer:
            return json.loads(answer.read())

    def _open(self, method: str, path: str, data: bytes | None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=data,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        return urllib.request.urlopen(request, timeout=60)

    def ask(self, kind: str, **keys: Any) -> Any:
        """Ask over the WebSocket API; return the result."""
        with WebSocket(self.port, "/api/websocket") as connection:
            connection.receive()
            connection.send({"type": "auth", "access_token": self._token})
            assert connection.receive()["type"] == "auth_ok"
            connection.send({"id": 1, "type": kind, **keys})
            answer = connection.receive()
        assert answer["success"], answer
        return answer["result"]

    def tokens(self) -> dict[str, Any]:
        """Return what a browser that has signed in keeps under ``hassTokens``."""
        return {
            "hassUrl": f"http://127.0.0.1:{self.port}",
            "clientId": f"http://127.0.0.1:{self.port}/",
            "access_token": self._token,
            "token_type": "Bearer",
            "refresh_token": "",
            "expires_in": 86400,
            "expires": int(time.time() + 86400) * 1000,
        }

    def call(self, service: str, entity: str | None = None, **data: Any) -> None:
        """Call a service such as ``switch.turn_on`` and wait until it is done."""
        if entity:
            data["entity_id"] = entity
        self.post("/api/services/" + service.replace(".", "/"), data)

    def render(self, template: str, payload: dict[str, Any]) -> str:
        """Return what Home Assistant makes of a value template and an MQTT payload."""
        given = "{% set value_json = " + json.dumps(json.dumps(payload)) + " | from_json %}"
        body = json.dumps({"template": given + template}).encode()
        with self._open("POST", "/api/template", body) as answer:
            return str(answer.read().decode())

    def entity(self, entity: str) -> dict[str, Any]:
        """Return the state object of ``entity``; empty where there is none."""
        try:
            found: dict[str, Any] = self.get(f"/api/states/{entity}")
        except urllib.error.HTTPError as exc:
            if exc.code != 404:
                raise
            return {}
        return found

    def state(self, entity: str) -> str | None:
        """Return the state of ``entity``, None where there is no such entity."""
        return self.entity(entity).get("state")

    def wait_state(self, entity: str, wanted: str | None, timeout: float = 20.0) -> dict[str, Any]:
        """Wait until ``entity`` has the state ``wanted``; return its state object."""
        try:
            eventually(lambda: self.state(entity) == wanted, timeout)
        except AssertionError as exc:
            raise AssertionError(f"{entity} is {self.entity(entity)}, not {wanted!r}: {exc}") from None
        return self.entity(entity)

    def registry(self, device: str) -> dict[str, dict[str, Any]]:
        """Return the registry's entries of the device ``device`` by entity id."""
        (found,) = [each for each in self.devices() if each["name"] == device]
        entries = self.ask("config/entity_registry/list")
        return {each["entity_id"]: each for each in entries if each["device_id"] == found["id"]}

    def devices(self) -> list[dict[str, Any]]:
        """Return all devices."""
        found: list[dict[str, Any]] = self.ask("config/device_registry/list")
        return found

    def problems(self, ignored: Iterable[str] = ()) -> list[str]:
        """Return the warnings and errors that it logged, but for those that hold an ``ignored`` text."""
        passed = (*_OF_THIS_MACHINE, *ignored)
        return [
            line
            for line in self.said().splitlines()
            if _PROBLEM.match(line) and not any(each in line for each in passed)
        ]


def _signed(claims: dict[str, Any], key: str) -> str:
    """Return a JSON Web Token, signed with HMAC and SHA-256 [RFC 7519, RFC 7515]."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    parts = [encoded(json.dumps(each).encode()) for each in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(key.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, encoded(signature)])
