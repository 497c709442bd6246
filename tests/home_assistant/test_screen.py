"""The device as a person sees it in a browser; the picture is kept with the tests' output."""

import json

import pytest

from tests.harness.process import ROOT
from tests.home_assistant.conftest import Lab
from tests.node_red.browser import Browser

pytestmark = pytest.mark.slow

OUTPUT = ROOT / "tests" / "output"

_SHOWN = """(() => {
    const texts = [];
    const walk = (node) => {
        if (node.nodeType === Node.TEXT_NODE) texts.push(node.textContent.trim());
        if (node.shadowRoot) walk(node.shadowRoot);
        if (node.nodeName === "STYLE" || node.nodeName === "SCRIPT") return;
        node.childNodes.forEach(walk);
    };
    walk(document);
    return texts.filter(each => each);
})()"""
"""All texts of the page, those inside its web components too."""


_ICONS_MISSING = """(() => {
    const icons = [];
    const walk = (node) => {
        if (node.nodeName === "HA-ICON") icons.push(node);
        if (node.shadowRoot) walk(node.shadowRoot);
        node.childNodes.forEach(walk);
    };
    walk(document);
    const drawn = (icon) => {
        const picture = icon.shadowRoot?.querySelector("ha-svg-icon");
        return picture?.shadowRoot?.querySelector("path[d]");
    };
    return icons.filter(icon => !drawn(icon)).length + (icons.length ? 0 : 1);
})()"""
"""How many icons have not been drawn yet."""


def test_the_device_page(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The device's page has its groups of entities, by their names and with live values."""
    lab.client.publish("hologram/out/field/7", "21.5")
    lab.modem.tell("sms", from_="+15557654321", text="Tank 2 is full")
    lab.home.wait_state("sensor.cellular_bridge_last_sms", "Tank 2 is full")
    lab.client.wait_results(1)
    lab.health()
    lab.home.wait_state("sensor.cellular_bridge_delivered", "1")
    (device,) = (each for each in lab.home.devices() if each["name"] == "Cellular bridge")
    browser = Browser(lab.keeper, tmp_path_factory.mktemp("browser"), width=1250, height=1900)
    address = f"http://127.0.0.1:{lab.home.port}"
    browser.open(f"{address}/manifest.json")
    browser.wait("document.readyState === 'complete'")
    browser.run(f"localStorage.setItem('hassTokens', {json.dumps(json.dumps(lab.home.tokens()))})")
    browser.open(f"{address}/config/devices/device/{device['id']}")
    wanted = {"Cellular bridge", "Signal strength", "Delivered", "Connection", "Flush queue", "Last SMS"}
    browser.wait(f"(all => {json.dumps(sorted(wanted))}.every(one => all.includes(one)))({_SHOWN})", 60)
    browser.wait(f"{_SHOWN}.some(one => one.includes('Tank 2 is full'))", what="the SMS is on the page")
    shown = browser.run(_SHOWN)
    assert {"Sensors", "Controls", "Diagnostic", "Configuration"} <= set(shown)
    browser.wait(f"{_ICONS_MISSING} === 0", what="every icon exists and is drawn")
    browser.shoot(OUTPUT / "home-assistant.png")
