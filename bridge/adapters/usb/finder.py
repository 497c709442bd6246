"""The place of the configured modem: at the given ports, else found by its USB id."""

import os

from bridge.adapters.usb import sysfs as usb
from bridge.core.modem import Place
from bridge.protocol.modems import PROFILES, Profile, by_interface


class Finder:
    """Finds the modem, and the same one again under another name."""

    def __init__(self, interface: str, devices: tuple[str, ...] = (), fallback: str | None = None) -> None:
        """``interface`` is a cellular ``network.interface``; ``devices`` are its ports: AT, dialling.

        ``fallback`` is the AT port to use if no modem is found by its USB id.
        """
        self._interface = interface
        self._devices = devices
        self._fallback = fallback
        self._wanted = PROFILES if interface == "cellular" else (by_interface(interface),)
        self._generic = by_interface("cellular")
        self._found: usb.Found | None = None

    def __call__(self) -> Place | None:
        """Return the modem's place, or None."""
        found = self._given(self._devices) if self._devices else self._by_usb()
        if found is not None:
            self._found = found
        elif self._fallback and not self._devices:
            found = self._given((self._fallback,))
        if found is None:
            return None
        return Place(found.profile.interface, found.at_port, found.dial_port, found.usb_path)

    @property
    def missing(self) -> str:
        """The missing device or kind, as a text for the user."""
        if self._devices:
            return f"no modem: {' and '.join(self._devices)} is not there"
        kind = "known modem" if self._interface == "cellular" else by_interface(self._interface).label
        return f"no modem: no {kind} on the USB"

    def _given(self, devices: tuple[str, ...]) -> usb.Found | None:
        """Return the modem at the given devices; a given link is a stable name, and is kept."""
        if not all(os.path.exists(path) for path in devices):  # noqa: PTH110 they may be broken links
            return None
        profile = self._wanted[0] if len(self._wanted) == 1 else self._recognised(devices[0])
        found = usb.at_device(profile, devices[0])
        return found._replace(dial_port=devices[1]) if len(devices) > 1 else found

    def _recognised(self, device: str) -> Profile:
        """Return the profile of the given device, by its USB id."""
        place = usb.at_device(self._generic, device).usb_path
        known = (one.profile for one in usb.find(PROFILES) if place and one.usb_path == place)
        return next(known, self._generic)

    def _by_usb(self) -> usb.Found | None:
        if self._found and (same := usb.again(self._found)):
            return same
        return next(iter(usb.find(self._wanted)), None)
