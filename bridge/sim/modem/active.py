"""The faults that are active at a modem, as its parts ask for them."""

from collections.abc import Iterable

from bridge.sim.modem.port.line import parse


class ActiveFaults:
    """The active faults and their numbers."""

    def __init__(self) -> None:
        self.silence = ""
        """Name of the active hang, empty without one."""
        self.noise = b""
        """Bytes that are sent when a port is opened."""
        self.numbers: dict[str, float | None] = {}
        """Argument S or N of each active fault; None for a fault without one."""

    def number(self, name: str) -> float | None:
        """Return the number of a fault; None without one, or when the fault is not active."""
        return self.numbers.get(name)

    def hits(self, name: str) -> bool:
        """Whether a fault ordered for N times (without N always) hits this time."""
        left = self.numbers.get(name, 0)
        if left is None:
            return True
        if left < 1:
            return False
        self.numbers[name] = left - 1
        return True

    def refuses(self, apn: str) -> bool:
        """Whether the network refuses a context with this APN."""
        return "other-apn" in self.numbers and apn != "hologram"

    def clear(self) -> None:
        """End all faults."""
        self.speak()
        self.noise = b""
        self.numbers.clear()

    def speak(self) -> None:
        """End a hang."""
        self.silence = ""

    def port_closed(self) -> None:
        """End a hang that lasts as long as the port is open."""
        if self.silence == "hang-port":
            self.speak()

    def executes(self, line: str, resets: Iterable[str]) -> bool:
        """Return whether a line is carried out, because there is no hang or because the line ends it.

        ``resets`` are the arguments of ``AT+CFUN`` that restart this model.
        """
        if not self.silence:
            return True
        try:
            commands = parse(line) or []
        except ValueError:
            return False
        settings = [",".join(each.args) for each in commands if each.name == "+CFUN" and each.args]
        wakes = self.silence == "hang" and bool(settings)
        if self.silence == "hang-reset":
            wakes = not set(settings).isdisjoint(resets)
        if wakes:
            self.speak()
        return wakes
