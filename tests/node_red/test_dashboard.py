"""The dashboard in a browser: what a person sees on it, and what its forms and buttons do."""

import json
from functools import partial
from typing import Any

import pytest

from tests.node_red.browser import Browser
from tests.node_red.conftest import OUTPUT, Alone, Lab
from tests.node_red.node_red import until

GROUPS = {
    "Signal over time",
    "Waiting in the outbox",
    "Last messages",
    "Modem and SIM",
    "Send a message",
    "Send an SMS",
    "Connection",
    "Data used, by day",
}


class Page:
    """A page of the dashboard, read and used as by a person."""

    def __init__(self, browser: Browser, port: int, path: str) -> None:
        self.browser = browser
        browser.console.clear()
        browser.asked.clear()
        browser.open(f"http://127.0.0.1:{port}/dashboard/{path}")
        browser.wait("document.querySelectorAll('.nrdb-ui-group').length > 2", what="the page is there")

    def tile(self, key: str) -> list[str]:
        """Return the lines of a tile: its name, its value, its note."""
        return [line.strip() for line in self.browser.text(f"[data-tile={key}]").splitlines() if line.strip()]

    def rows(self) -> list[str]:
        """Return the rows of the table, each in one line."""
        found: list[str] = self.browser.run(
            "[...document.querySelectorAll('.hb-table tbody tr')]"
            ".map(e => e.innerText.replace(/\\s+/g, ' ').trim())"
        )
        return found

    def press(self, label: str) -> None:
        """Press the button that says so."""
        self.browser.run(
            "document.querySelectorAll('[data-test]').forEach(e => e.removeAttribute('data-test'));"
            "[...document.querySelectorAll('.nrdb-ui-button button')]"
            f".find(e => e.innerText.trim() === {json.dumps(label)}).setAttribute('data-test', 'press')"
        )
        self.browser.click("[data-test=press]")

    def fill(self, group: str, first: str, text: str) -> None:
        """Fill the form in a group and send it."""
        form = f".hb-group-{group} form"
        self.browser.write(f"{form} input", first)
        self.browser.write(f"{form} textarea", text)
        self.browser.wait(f"!document.querySelector('{form} button').disabled", what="the form can be sent")
        self.browser.click(f"{form} button")

    def wait_notice(self, text: str) -> None:
        """Wait until a notification says ``text``."""
        self.browser.wait(
            "[...document.querySelectorAll('.v-snackbar')]"
            f".some(e => e.innerText.includes({json.dumps(text)}))",
            what=f"a notification says {text!r}",
        )

    def drawn(self, group: str, color: tuple[int, int, int]) -> int:
        """Return how many pixels of the chart in ``group`` have this colour: its line."""
        red, green, blue = color
        count: int = self.browser.run(
            f"(() => {{ const c = document.querySelector('.hb-group-{group} canvas');"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
            "for (let i = 0; i < d.length; i += 4)"
            f" if (d[i] === {red} && d[i + 1] === {green} && d[i + 2] === {blue} && d[i + 3] === 255) n++;"
            "return n })()"
        )
        return count

    def in_order(self) -> None:
        """Check that the page had no errors, and asked nobody but Node-RED."""
        assert self.browser.console == []
        asked = [each for each in self.browser.asked if each.startswith(("http", "ws"))]
        assert asked
        assert [each for each in asked if "//127.0.0.1:" not in each] == []


def test_the_dashboard_is_live(lab: Lab, browser: Browser) -> None:
    """Its tiles show what the bridge says, and follow what happens without a reload."""
    page = Page(browser, lab.node_red.port, "bridge")
    titles = browser.wait(
        "[...document.querySelectorAll('.nrdb-ui-group .v-card-title')].map(e => e.innerText)"
    )
    assert set(titles) >= GROUPS
    browser.wait("document.querySelectorAll('[data-tile]').length === 6", what="six tiles")
    until(lambda: page.tile("link") == ["LINK", "Own network", "no modem is managed"])
    assert page.tile("signal")[1:] == ["\u2013", "no modem"], "what is not known is not invented"
    until(lambda: page.tile("delivered")[1] == str(delivered(lab)), what="delivered is as the bridge says")
    before, bytes_before = int(page.tile("delivered")[1]), page.tile("today")[1]
    lab.client.publish("hologram/out/seen/by/all", "hello")
    until(lambda: page.tile("delivered")[1] == str(before + 1), what="one more is delivered")
    assert page.tile("today")[1] != bytes_before
    assert page.tile("month")[1].endswith(" kB")
    until(lambda: any("seen/by/all delivered in " in row for row in page.rows()), what="it is in the table")
    lab.push(b"hello from the cloud")
    until(lambda: any("received hello from the cloud" in row for row in page.rows()))
    until(lambda: page.drawn("queue", (178, 106, 0)) > 50, what="the queue's line is drawn")
    browser.shoot(OUTPUT / "node-red-own-network.png")
    page.in_order()


def delivered(lab: Lab) -> int:
    """Return what the bridge counts as delivered, by its last health and the results since then."""
    health: dict[str, Any] = lab.client.health()
    since = [
        result
        for result in lab.client.results()
        if result["state"] == "delivered" and result["finished_at"] > health["at"]
    ]
    return int(health["results"]["delivered"]) + len(since)


def test_the_forms_send(lab: Lab, browser: Browser) -> None:
    """A message and an SMS arrive at the cloud as typed; the page says what became of each."""
    page = Page(browser, lab.node_red.port, "bridge")
    page.fill("message", "from/the/form", 'Grüße, "quoted" & <b>')
    until(lambda: lab.arrived("from/the/form"), what="the message arrives")
    assert lab.arrived("from/the/form") == ['Grüße, "quoted" & <b>'.encode()]
    page.wait_notice("Message delivered in ")
    until(lambda: any("from/the/form delivered" in row for row in page.rows()))
    page.fill("sms", "+1 555 234 5678", "Hello from the dashboard")
    until(lambda: lab.texts("+15552345678"), what="the SMS arrives")
    assert lab.texts("+15552345678") == ["Hello from the dashboard"]
    page.wait_notice("SMS to +1 555 234 5678 delivered in ")
    page.fill("sms", "12", "to nobody")
    page.wait_notice("SMS to 12 rejected: to: ")
    page.in_order()


def test_store_and_forward_can_be_seen(lab: Lab, browser: Browser) -> None:
    """Paused, twenty messages wait and are seen to wait; resumed, each is delivered, in order."""
    page = Page(browser, lab.node_red.port, "outbox")

    def count(state: str) -> int:
        return sum("burst" in row and state in row for row in page.rows())

    before = lab.arrived("burst")
    page.press("Pause sending")
    page.wait_notice("Outbox done")
    page.press("Send 20 messages")
    until(lambda: count("waiting") == 20, what="twenty wait")
    assert lab.arrived("burst") == before
    browser.shoot(OUTPUT / "node-red-waiting.png")
    page.press("Resume")
    until(lambda: count("delivered") == 20 and count("waiting") == 0, what="twenty are delivered")
    numbers = [int(text.split()[3]) for text in lab.arrived("burst")[len(before) :]]
    assert numbers == list(range(1, 21))
    browser.shoot(OUTPUT / "node-red-forwarded.png")
    page.in_order()


# -- with a modem ----------------------------------------------------------------------------------------

STATUS: dict[str, Any] = {
    "state": "connected",
    "code": 1,
    "code_name": "CLOUD_CONNECTED",
    "interface": "cellular-nova-r410",
    "modem": "SARA-R410M-02B",
    "device": "/dev/ttyUSB0",
    "local_ip": "10.176.24.118",
    "remote_ip": "10.64.64.64",
    "operator": "T-Mobile",
    "technology": "LTE-M",
    "registration": "roaming",
    "signal": {"rssi_dbm": -77, "percent": 58, "ber": 0},
    "imei": "352753090041680",
    "imsi": "234500012345678",
    "iccid": "8944500102198304826",
    "since": "2026-11-21T06:12:40.000Z",
    "error": None,
}
HEALTH: dict[str, Any] = {
    "state": "ok",
    "at": "2026-11-21T08:00:00.000Z",
    "queue": {
        "messages": 3,
        "bytes": 90,
        "by_channel": {},
        "oldest_age": 1.5,
        "under_way": 0,
        "paused": False,
    },
    "results": {"delivered": 1204, "rejected": 2, "expired": 1},
    "bytes": {"today": {"up": 61000, "down": 47000}, "month": {"up": 1_900_000, "down": 1_350_000}},
    "destinations": [],
}


def seen(page: Page) -> str:
    """Return the text of the page in one line."""
    return " ".join(page.browser.text("body").split())


@pytest.fixture
def modem(alone: Alone) -> Alone:
    """A bridge that has a modem, as far as Node-RED can tell."""
    alone.say("bridge/state", "online", retain=True)
    alone.say("bridge/health", HEALTH, retain=True)
    alone.say("network/status", STATUS, retain=True)
    return alone


def test_the_modem_can_be_seen(modem: Alone, browser: Browser) -> None:
    """Link, signal, queue, data, operator and SIM are shown with their units, and follow each change."""
    page = Page(browser, modem.node_red.port, "bridge")
    until(lambda: page.tile("link") == ["LINK", "Connected", "T-Mobile · LTE-M"], what="it is connected")
    assert page.tile("signal") == ["SIGNAL", "-77 dBm", "good"]
    assert page.tile("queue") == ["WAITING", "3 messages", "everything flows"]
    assert page.tile("delivered") == ["DELIVERED", "1204", "3 not delivered"]
    assert page.tile("today")[1] == "108.0 kB"
    assert page.tile("month")[1] == "3.25 MB"
    for text in ("SARA-R410M-02B", "cellular-nova-r410", "8944500102198304826", "10.176.24.118", "roaming"):
        until(lambda text=text: text in seen(page), what=text)  # type: ignore[misc]  # a default binds it
    modem.say("network/status", {**STATUS, "signal": {"rssi_dbm": -97, "percent": 26, "ber": 3}}, retain=True)
    until(lambda: page.tile("signal") == ["SIGNAL", "-97 dBm", "weak"], what="the signal falls")
    until(lambda: page.drawn("signal", (15, 118, 110)) > 50, what="the signal's line is drawn")
    gone = {**STATUS, "state": "disconnected", "code": 0, "local_ip": None, "error": "the carrier hung up"}
    modem.say("network/status", gone, retain=True)
    modem.say("bridge/health", {**HEALTH, "state": "degraded"}, retain=True)
    until(lambda: page.tile("link") == ["LINK", "Disconnected", "the carrier hung up"])
    until(lambda: page.tile("queue")[2] == "the cloud is out of reach")
    modem.say("bridge/state", "offline", retain=True)
    until(lambda: page.tile("link")[1] == "Bridge offline", what="the bridge goes")
    page.in_order()


def test_the_data_of_each_day_is_seen_beside_the_budget(modem: Alone, browser: Browser) -> None:
    """A bar for each day, the budget as a line, what is over it in another colour, and what is held back."""
    days: list[dict[str, Any]] = [
        {"day": f"2026-11-{each:02}", "bytes": each * 1000, "sms": 0, "cost": None} for each in range(1, 31)
    ]
    days[-1] |= {"sms": 2, "cost": 0.38}
    usage = {"day": "2026-11-30", "budget": {"day": 25_000, "month": None}, "currency": "USD", "days": days}
    modem.say("bridge/usage", {"at": "2026-11-30T08:00:00.000Z", "months": [], **usage}, retain=True)
    page = Page(browser, modem.node_red.port, "bridge")
    group = "document.querySelector('.hb-group-usage')"
    until(
        lambda: browser.run(f"{group} ? {group}.querySelectorAll('rect').length : 0") == 30,
        what="thirty bars",
    )
    assert browser.run(f"{group}.querySelectorAll('.hb-over').length") == 5
    assert browser.run(f"{group}.querySelectorAll('line').length") == 1
    assert browser.run(f"{group}.querySelector('rect:last-of-type title').textContent") == (
        "2026-11-30: 30.0 kB, 2 SMS, 0.38 USD"
    )
    assert "budget 25.0 kB a day" in seen(page)
    assert "nothing is held back" in seen(page)
    budget = {"day": {"limit": 25_000, "use": 30_000, "percent": 120, "left": 0, "holds": True}}
    queue = {**HEALTH["queue"], "held": {"day": 3}}
    modem.say("bridge/health", {**HEALTH, "queue": queue, "budget": budget}, retain=True)
    until(lambda: "3 held back: today's data used up" in seen(page), what="what is held is seen")
    assert "today's data: 120 % used" in seen(page)
    browser.shoot(OUTPUT / "node-red-usage.png")
    page.in_order()


def test_the_figures_move_between_two_healths(modem: Alone, browser: Browser) -> None:
    """An event and a result count at once, what the health counts already does not count twice."""
    page = Page(browser, modem.node_red.port, "bridge")
    until(lambda: page.tile("queue")[1:2] == ["3 messages"])
    later, earlier = "2026-11-21T08:00:10.000Z", "2026-11-21T07:59:00.000Z"
    queued = {"event_type": "message.queued", "channel": "cloud", "topics": ["t"], "priority": "normal"}
    modem.say("event", {**queued, "id": "old", "at": earlier})
    for number in range(4):
        modem.say("event", {**queued, "id": f"new-{number}", "at": later})
    until(lambda: page.tile("queue")[1] == "7 messages", what="four more wait")
    result = {"channel": "cloud", "to": None, "topics": ["t"], "code": 0, "description": "", "attempts": 1}
    ended = {**result, "queued_at": later, "finished_at": later, "bytes_up": 600, "bytes_down": 400}
    modem.say("result", {**ended, "id": "old", "state": "delivered", "finished_at": earlier})
    modem.say("result", {**ended, "id": "new-0", "state": "delivered"})
    modem.say("result", {**ended, "id": "new-1", "state": "delivered"})
    modem.say("result", {**ended, "id": "at the door", "state": "rejected", "bytes_up": 0, "bytes_down": 0})
    until(lambda: page.tile("queue")[1] == "5 messages", what="two of them have gone")
    assert page.tile("delivered") == ["DELIVERED", "1206", "4 not delivered"]
    assert page.tile("today")[1] == "110.0 kB"


def has_asked(modem: Alone, times: int) -> bool:
    """Tell whether the network was asked for something so many times."""
    return len(modem.asked("network/set")) == times


def test_the_buttons_control_the_connection(modem: Alone, browser: Browser) -> None:
    """Each asks the bridge once, and says what came of it, or that nothing has come yet."""
    page = Page(browser, modem.node_red.port, "bridge")
    for label, said in (("Connect", "connected"), ("Disconnect", "disconnected")):
        before = len(modem.asked("network/set"))
        page.press(label)
        until(partial(has_asked, modem, before + 1), what="it asks")
        request = modem.asked("network/set")[-1]
        assert request.json()["command"] == label.lower()
        modem.answer(request, channel="network", state="done", description=said)
        page.wait_notice(f"Network done: {said}")
    page.press("Reconnect")
    page.wait_notice("Network waits: no result yet")
    assert modem.asked("network/set")[-1].json()["command"] == "reconnect"
    page.in_order()
