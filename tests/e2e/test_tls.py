"""TLS to the broker: one that cannot show who it is gets nothing, is tried again, and taken once it can."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually, free_port


class Authority:
    """Signs certificates into a folder, as an administrator would with openssl."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.certificate = folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        self._openssl("req", "-x509", "-nodes", *_new_key(self._key), "-subj", f"/CN={name}",
                      "-days", "30", "-out", self.certificate)  # fmt: skip

    def sign(
        self,
        name: str,
        *,
        alternative: str = "IP:127.0.0.1",
        start: str = "20200101000000Z",
        end: str = "20991231235959Z",
        usage: str = "serverAuth",
    ) -> tuple[Path, Path]:
        """Return a certificate and its key; ``alternative`` is whom it names, the times are X.509's."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        self._openssl("req", "-nodes", *_new_key(key), "-subj", f"/CN={name}", "-out", request)
        extensions.write_text(f"subjectAltName={alternative}\nextendedKeyUsage={usage}\n")
        for each, text in (("index.txt", ""), ("serial", "01\n")):
            (self.folder / each).write_text(text)
        config = self.folder / "ca.conf"
        config.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.folder}/index.txt\nserial={self.folder}/serial\n"
            f"new_certs_dir={self.folder}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
        )
        self._openssl("ca", "-batch", "-config", config, "-in", request, "-out", certificate, "-notext",
                      "-cert", self.certificate, "-keyfile", self._key, "-extfile", extensions,
                      "-startdate", start, "-enddate", end)  # fmt: skip
        return certificate, key

    def _openssl(self, *words: str | Path) -> None:
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _new_key(path: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", path)


class Secure(NamedTuple):
    """A broker with TLS, and a port without for the tests' own client."""

    broker: Mosquitto
    plain: int
    authority: Authority
    shown: tuple[Path, Path]
    """The files of the certificate that it shows, and of its key."""

    def show(self, files: tuple[Path, Path]) -> None:
        """Have the broker show another certificate from its next start on."""
        for target, source in zip(self.shown, files, strict=True):
            target.write_bytes(source.read_bytes())


@pytest.fixture
def secure(keeper: Keeper, tmp_path: Path) -> Secure:
    """A broker that is down, with a certificate for this machine."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    authority, plain = Authority(folder, "authority"), free_port()
    shown = folder / "shown.crt", folder / "shown.key"
    lines = (
        f"certfile {shown[0]}", f"keyfile {shown[1]}", f"cafile {authority.certificate}",
        f"listener {plain} 127.0.0.1",
    )  # fmt: skip
    found = Secure(Mosquitto(keeper, tmp_path / "secure", lines=lines), plain, authority, shown)
    found.show(authority.sign("good"))
    return found


@pytest.fixture
def tls_bridge(keeper: Keeper, tmp_path: Path, secure: Secure, cloud: Cloud) -> BridgeProcess:
    """A bridge that trusts the authority of ``secure``."""
    bridge = BridgeProcess(keeper, tmp_path / "bridge", secure.broker, cloud.port)
    bridge.configure(mqtt={"tls": {"ca": str(secure.authority.certificate)}}, log={"level": "debug"})
    return bridge


REFUSED = "WARNING:bridge:TLS with the broker at "


def wrong(secure: Secure, what: str) -> tuple[Path, Path]:
    """Return a certificate that must not be taken."""
    sign = secure.authority.sign
    if what == "expired":
        return sign("expired", end="20210101000000Z")
    if what == "not yet valid":
        return sign("early", start="20800101000000Z")
    if what == "mismatch":
        return sign("elsewhere", alternative="DNS:broker.example.net")
    if what == "unsuitable certificate purpose":
        return sign("client", usage="clientAuth")
    folder = secure.authority.folder / "stranger"
    folder.mkdir()
    return Authority(folder, "stranger").sign("strange")


@pytest.mark.parametrize(
    "what", ["expired", "not yet valid", "unsuitable certificate purpose", "unable to get local issuer"]
)
def test_a_wrong_certificate_is_refused(secure: Secure, tls_bridge: BridgeProcess, what: str) -> None:
    """One line says what is wrong, and the bridge stays up: its commands answer."""
    secure.show(wrong(secure, what))
    secure.broker.start()
    tls_bridge.start(wait=False)
    eventually(lambda: REFUSED in tls_bridge.said(), what="it is said")
    (line,) = [line for line in tls_bridge.said().splitlines() if line.startswith(REFUSED)]
    assert line.startswith(f"{REFUSED}127.0.0.1:{secure.broker.port} failed: ")
    assert what in line
    assert line.endswith("(CERTIFICATE_VERIFY_FAILED)")
    assert "connected to the broker" not in tls_bridge.said()
    assert tls_bridge.queue("stats")["last_error"]["component"] == "mqtt"
    assert tls_bridge.stop() == 0
    assert "Traceback" not in tls_bridge.said()


def test_another_machines_certificate_is_refused_until_the_right_one_is_shown(
    secure: Secure, tls_bridge: BridgeProcess, cloud: Cloud
) -> None:
    """It is tried again and again, said once; with the right one, without a restart, messages flow."""
    cloud.start()
    right = tuple(path.read_bytes() for path in secure.shown)
    secure.show(wrong(secure, "mismatch"))
    secure.broker.start()
    tls_bridge.start(wait=False)
    eventually(lambda: tls_bridge.said().count("DEBUG:bridge:TLS with") >= 2, 20, what="it is tried again")
    assert tls_bridge.said().count(REFUSED) == 1
    assert "IP address mismatch" in tls_bridge.said()
    secure.broker.stop()
    for path, content in zip(secure.shown, right, strict=True):
        path.write_bytes(content)
    secure.broker.start()
    eventually(lambda: "connected to the broker" in tls_bridge.said(), 40, what="the bridge connects")
    with Client(secure.plain, "hologram/#") as client:
        client.publish("hologram/out/a", "over TLS", user={"id": "m"})
        assert client.wait_result("m", 20)["state"] == "delivered"


def test_a_broker_without_tls_gets_no_password(secure: Secure, tls_bridge: BridgeProcess) -> None:
    """Where TLS is asked for, a port that speaks plain MQTT is not spoken to."""
    secure.broker.start()
    tls_bridge.configure(mqtt={"port": secure.plain, "username": "box", "password": "very-secret"})
    tls_bridge.start(wait=False)
    eventually(lambda: f"broker at 127.0.0.1:{secure.plain}" in tls_bridge.said(), 30, what="it is said")
    assert tls_bridge.running
    assert "connected to the broker" not in tls_bridge.said()
    assert "very-secret" not in tls_bridge.said() + secure.broker.said()


def test_a_broker_with_tls_takes_nobody_without(secure: Secure, tls_bridge: BridgeProcess) -> None:
    """Without mqtt.tls the bridge says that it is not taken, and stays up."""
    secure.broker.start()
    tls_bridge.configure(mqtt={"tls": None})
    tls_bridge.start(wait=False)
    eventually(lambda: "WARNING:bridge:" in tls_bridge.said(), 30, what="it is said")
    assert tls_bridge.running
    assert "connected to the broker" not in tls_bridge.said()


@pytest.mark.parametrize("wrong_key", ["ca", "key"])
def test_files_that_do_not_serve_are_refused_before_the_bridge_depends_on_them(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, wrong_key: str
) -> None:
    """check-config, a reload and a start say the same line; the bridge that runs goes on as it was."""
    text, authority = tmp_path / "text", Authority(tmp_path, "authority")
    text.write_text("not a certificate")
    certificate, _ = authority.sign("client")
    _, others = authority.sign("other")
    bad = {"ca": str(text)} if wrong_key == "ca" else {"cert": str(certificate), "key": str(others)}
    bridge = BridgeProcess(keeper, tmp_path / "bridge", mosquitto, free_port())
    bridge.start()
    bridge.configure(mqtt={"tls": bad})
    checked = bridge.run("check-config")
    assert (checked.returncode, checked.stdout) == (78, "")
    line = checked.stderr.removeprefix("hologram-bridge: ").strip()
    assert line.startswith(f'mqtt.tls.{wrong_key}: "{bad[wrong_key]}" is not allowed')
    bridge.signal_reload()
    eventually(lambda: f"the configuration is not reloaded: {line}" in bridge.said(), what="it is refused")
    assert "configuration reloaded" not in bridge.said()
    assert bridge.running
    bridge.stop()
    started = bridge.run("run")
    assert started.returncode == 78
    assert line in started.stderr


def test_certificates_renewed_in_place_are_read_for_the_next_connection(
    secure: Secure, tls_bridge: BridgeProcess, cloud: Cloud, tmp_path: Path
) -> None:
    """A new authority in the same file, written in two steps: the bridge is back without a restart."""
    cloud.start()
    secure.broker.start()
    tls_bridge.start(wait=False)
    eventually(lambda: "connected to the broker" in tls_bridge.said(), 20, what="the bridge connects")
    folder = tmp_path / "renewed"
    folder.mkdir()
    renewed = Authority(folder, "renewed")
    secure.broker.stop()
    secure.show(renewed.sign("good"))
    content = renewed.certificate.read_text()
    secure.authority.certificate.write_text(content[: len(content) // 2])  # a renewal that is not done yet
    secure.broker.lines = tuple(line for line in secure.broker.lines if not line.startswith("cafile"))
    secure.broker.start()
    eventually(lambda: "is not begun: mqtt.tls.ca" in tls_bridge.said(), 40, what="the half file is met")
    secure.authority.certificate.write_text(content)
    eventually(lambda: tls_bridge.said().count("connected to the broker") == 2, 40, what="it is back")
    with Client(secure.plain, "hologram/#") as client:
        client.publish("hologram/out/a", "over TLS", user={"id": "m"})
        assert client.wait_result("m", 20)["state"] == "delivered"
    assert "Traceback" not in tls_bridge.said()


def test_a_client_certificate_renewed_in_place_is_shown_at_the_next_connection(
    keeper: Keeper, tmp_path: Path, cloud: Cloud
) -> None:
    """The broker trusts another authority from then on; certificate and key come one after the other."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    server, first, second = (Authority(folder, name) for name in ("server", "first", "second"))
    shown, own, trusted = server.sign("broker"), (folder / "own.crt", folder / "own.key"), folder / "trusted"

    def renew(authority: Authority) -> tuple[bytes, bytes]:
        trusted.write_bytes(authority.certificate.read_bytes())
        certificate, key = authority.sign("box", usage="clientAuth")
        return certificate.read_bytes(), key.read_bytes()

    for path, content in zip(own, renew(first), strict=True):
        path.write_bytes(content)
    lines = (f"certfile {shown[0]}", f"keyfile {shown[1]}", f"cafile {trusted}", "require_certificate true")
    broker = Mosquitto(keeper, tmp_path / "broker", lines=lines)
    broker.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, cloud.port)
    tls = {"ca": str(server.certificate), "cert": str(own[0]), "key": str(own[1])}
    bridge.configure(mqtt={"tls": tls}, log={"level": "debug"})
    bridge.start(wait=False)
    eventually(lambda: "connected to the broker" in bridge.said(), 20, what="the bridge connects")
    broker.stop()
    certificate, key = renew(second)
    own[0].write_bytes(certificate)
    broker.start()
    eventually(lambda: "is not begun: mqtt.tls.key" in bridge.said(), 40, what="the two do not match yet")
    own[1].write_bytes(key)
    eventually(lambda: bridge.said().count("connected to the broker") == 2, 40, what="it is back")
    assert "Traceback" not in bridge.said()
