"""The page on the collector: its lines, and its samples, held to a collector that runs."""

import os
import re
import shlex
import subprocess
from pathlib import Path

from bridge.collect.settings import CollectSettings
from tests.docs.pages import page
from tests.harness import Keeper, Mosquitto, eventually
from tests.harness.collector import SECRET, CollectorProcess
from tests.harness.process import Process

PAGE = page("collect")


def shell(heading: str) -> list[str]:
    """Return the lines of the shell's blocks under a heading."""
    return [
        line
        for block in PAGE.blocks
        if block.language == "sh" and block.where == heading
        for line in block.lines
    ]


def test_the_lines_of_the_page_work(keeper: Keeper, tmp_path: Path) -> None:
    """Configuration, the request by hand, and who listens; the metrics are those of the table."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto")
    broker.start()
    collector = CollectorProcess(keeper, tmp_path, mqtt={"port": broker.port})
    _, _, check, run, curl = shell("Set one up")
    for line in (check, run):
        assert line.startswith("sudo hologram-bridge ")
    assert collector.run(*check.split()[2:]).returncode == 0
    collector.start()
    assert shell("On JetStream") == ["sudo hologram-bridge collect --setup"]
    (listen,) = shell("What comes out")
    heard = Process("mosquitto_sub", tmp_path / "heard.log")
    keeper.keep(heard)
    heard.launch([*shlex.split(listen), "-h", "127.0.0.1", "-p", str(broker.port)])
    assert "8080" in curl
    command = curl.replace("8080", str(collector.port))

    def came() -> bool:
        environ = {**os.environ, "SECRET": SECRET}
        done = subprocess.run(
            ["/bin/sh", "-c", command], env=environ, capture_output=True, text=True, check=True
        )
        assert " 200 " in done.stdout.splitlines()[0]
        return "fleet/5678/door" in heard.said()

    eventually(came, what="the message is heard")
    assert re.search(r"fleet/5678/door .*device:5678.* open$", heard.said().splitlines()[0])
    told = set(re.findall(r"`(hologram_collect_\w+)`", PAGE.text))
    assert told == set(re.findall(r"^# TYPE (\w+)", collector.get("/metrics").text, re.MULTILINE))


def test_the_page_has_the_defaults() -> None:
    """Prefix, headers and address."""
    settings = CollectSettings.model_validate({"secret": {"value": SECRET}})
    assert f"`{settings.prefix}/<device id>/<topic>`" in PAGE.text
    for header in (
        settings.alerts.device,
        settings.alerts.topics,
        settings.alerts.received,
        settings.secret.header,
    ):
        assert f"`{header}`" in PAGE.text
    assert f"http://{settings.listen};" in PAGE.text
