"""The known modems: one module each, which holds its ``PROFILE``.

A new modem is one more module here (and its name among those that ``network.interface`` allows).
"""

from importlib import import_module
from pkgutil import iter_modules

from bridge.protocol.modems.profile import Profile

__all__ = ["PROFILES", "Profile", "by_interface"]


def _all() -> tuple[Profile, ...]:
    names = sorted(module.name for module in iter_modules(__path__) if module.name != "profile")
    return tuple(import_module(f"{__name__}.{name}").PROFILE for name in names)


PROFILES: tuple[Profile, ...] = _all()
"""Every profile, the generic one included."""

_BY_INTERFACE = {profile.interface: profile for profile in PROFILES}


def by_interface(interface: str) -> Profile:
    """Return the profile of ``network.interface``; raises `KeyError` if there is none."""
    return _BY_INTERFACE[interface]
