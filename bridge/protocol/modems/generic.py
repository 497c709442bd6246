"""Any modem that follows 3GPP TS 27.007, given by its device."""

from bridge.protocol.modems.profile import Profile

PROFILE = Profile(interface="cellular", label="3GPP modem")
