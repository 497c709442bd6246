"""Home Assistant's Supervisor, as far as an add-on asks it for the broker: a real server with faults."""

import http.server
import json
import threading
from typing import Any

TOKEN = "supervisor-token"

NOT_ENABLED = (400, {"result": "error", "message": "Service not enabled"})
REFUSED = (401, {"result": "error", "message": "unauthorized"})
"""What the Supervisor answers [supervisor: api/services.py, api/middleware/security.py]."""


class Supervisor:
    """Answers ``GET /services/mqtt`` with the broker, once there is one."""

    def __init__(self) -> None:
        self.answer: tuple[int, Any] = NOT_ENABLED
        self.asked = 0
        """Questions so far."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                status, body = outer.answer
                if self.path != "/services/mqtt":
                    status, body = 404, {"result": "error", "message": "not found"}
                elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                    status, body = REFUSED
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def offer(self, port: int, username: str, password: str) -> None:
        """Offer a broker, as the add-on Mosquitto broker does."""
        data = {"addon": "core_mosquitto", "host": "127.0.0.1", "port": port, "ssl": False}
        login = {"username": username, "password": password, "protocol": "3.1.1"}
        self.answer = (200, {"result": "ok", "data": {**data, **login}})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
