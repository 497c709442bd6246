"""TLS to broker and servers: certificates that expire, are renewed in place, or are not there at all."""

from pathlib import Path

import pytest

from tests.e2e.test_tls import Authority
from tests.harness import Keeper, Mosquitto, eventually
from tests.harness.collector import SECRET, CollectorProcess, batch, webhook
from tests.harness.nats import NEEDS_NATS, NatsServer

EXPIRED = "20210101000000Z"


class Certificates:
    """The files that a server shows and the collector shows, signed by one authority."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._authority = Authority(folder, "authority")
        self.trusted = self._authority.certificate
        self.server = folder / "shown.crt", folder / "shown.key"
        self.own = folder / "own.crt", folder / "own.key"
        for files in (self.server, self.own):
            self.renew(files)

    def renew(self, files: tuple[Path, Path], end: str = "20991231235959Z") -> None:
        """Put a certificate that is valid until ``end`` into the files."""
        usage = "clientAuth" if files is self.own else "serverAuth"
        for target, source in zip(files, self._authority.sign("signed", end=end, usage=usage), strict=True):
            target.write_bytes(source.read_bytes())

    @property
    def tls(self) -> dict[str, str]:
        """The collector's section ``tls``."""
        return {"ca": str(self.trusted), "cert": str(self.own[0]), "key": str(self.own[1])}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Certificates that are valid."""
    return Certificates(tmp_path / "certificates")


def wait_refused(collector: CollectorProcess, *words: str) -> None:
    """Wait until health says why there is no connection; requests are answered 503 meanwhile."""
    eventually(
        lambda: any(word in str(collector.get("/health").json()["problem"]) for word in words),
        30,
        what=f"one of {words} in health; it says {collector.get('/health').text}",
    )
    assert collector.get("/health").status == 503
    assert collector.post(webhook(batch("b1", 2), "batch")).status == 503
    assert any(word in collector.said(since_start=True) for word in words)


def went_through_expiry(
    collector: CollectorProcess, server: Mosquitto | NatsServer, certificates: Certificates
) -> None:
    """Have the server's certificate expire, then the collector's own; each is renewed in place."""
    collector.start()
    assert collector.post(webhook(batch("b0", 2), "batch")).status == 200
    server.stop()
    certificates.renew(certificates.server, EXPIRED)
    server.start()
    wait_refused(collector, "certificate has expired")
    server.stop()
    certificates.renew(certificates.server)
    certificates.renew(certificates.own, EXPIRED)
    server.start()
    # A server refuses after the handshake of TLS 1.3: its alert may be lost with the connection.
    wait_refused(collector, "CERTIFICATE_EXPIRED", "EOF", "says why", "Connection lost", "Broken pipe")
    certificates.renew(certificates.own)
    collector.wait_connected(30)
    assert collector.post(webhook(batch("b1", 2), "batch")).status == 200
    assert collector.said().count("certificate has expired") == 1
    assert collector.said().count("WARNING") < 10
    assert "Traceback" not in collector.said()


@pytest.mark.slow
def test_a_certificate_that_expires_is_told_and_the_renewed_one_is_taken(
    keeper: Keeper, tmp_path: Path, certificates: Certificates
) -> None:
    """On MQTT: the broker's certificate, then the collector's."""
    shown, key = certificates.server
    lines = (
        f"certfile {shown}",
        f"keyfile {key}",
        f"cafile {certificates.trusted}",
        "require_certificate true",
    )
    broker = Mosquitto(keeper, tmp_path / "broker", lines=lines)
    broker.start()
    mqtt = {"port": broker.port, "tls": certificates.tls}
    went_through_expiry(CollectorProcess(keeper, tmp_path / "c", mqtt=mqtt), broker, certificates)


@NEEDS_NATS
@pytest.mark.slow
def test_a_servers_certificate_that_expires_is_told_and_the_renewed_one_is_taken(
    keeper: Keeper, tmp_path: Path, certificates: Certificates
) -> None:
    """On JetStream: the same, and --setup makes its stream over TLS too."""
    shown, key = certificates.server
    server = NatsServer(keeper, tmp_path / "nats")
    server.lines = (
        f"tls {{ cert_file: {shown}, key_file: {key}, ca_file: {certificates.trusted}, verify: true }}",
    )
    server.start()
    nats = {"servers": [server.url], "replicas": 1, "tls": certificates.tls}
    collector = CollectorProcess(keeper, tmp_path / "c", nats=nats)
    done = collector.run("collect", "--setup")
    assert (done.returncode, done.stderr) == (0, "")
    went_through_expiry(collector, server, certificates)
    collector.settings["nats"]["tls"] = {"ca": "/nowhere"}
    assert 'nats.tls.ca: "/nowhere" is not allowed' in collector.run("collect").stderr


@NEEDS_NATS
def test_a_server_without_tls_gets_no_password(
    keeper: Keeper, tmp_path: Path, certificates: Certificates
) -> None:
    """A server whose INFO asks for no TLS is not spoken to where TLS is configured."""
    server = NatsServer(keeper, tmp_path / "nats")
    server.lines = (f'authorization {{ user: "box", password: "{SECRET}" }}',)
    server.start()
    login = {"username": "box", "password": SECRET}
    nats = {"servers": [server.url], "replicas": 1, "tls": certificates.tls, **login}
    collector = CollectorProcess(keeper, tmp_path / "c", nats=nats)
    assert "the server speaks no TLS" in collector.run("collect", "--setup").stderr
    collector.start(wait=False)
    wait_refused(collector, "the server speaks no TLS")
    collector.stop()
    collector.settings["nats"]["tls"] = None
    collector.start()
