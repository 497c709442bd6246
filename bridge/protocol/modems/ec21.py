"""Quectel EC21: LTE, 3G and 2G."""

from dataclasses import replace

from bridge.protocol.modems import bg96
from bridge.protocol.modems.profile import ACCESS_TECHNOLOGIES

PROFILE = replace(
    bg96.PROFILE,
    interface="cellular-ec21",
    label="Quectel EC21",
    usb_ids=("2c7c:0121",),
    technologies=ACCESS_TECHNOLOGIES,
)
