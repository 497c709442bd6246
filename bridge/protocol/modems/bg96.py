"""Quectel BG96: LTE-M, NB-IoT and 2G.

USB interface 0 is diagnostics, 1 NMEA, 2 takes AT commands, 3 dials
[Quectel WCDMA & LTE Linux USB Driver User Guide].
"""

from bridge.protocol.modems.profile import LTE_M_TECHNOLOGIES, Profile

PROFILE = Profile(
    interface="cellular-bg96",
    label="Quectel BG96",
    usb_ids=("2c7c:0296",),
    at_interface=2,
    dial_interface=3,
    setup=("AT+QSIMSTAT=1",),
    technologies=LTE_M_TECHNOLOGIES,
    iccid_command="AT+QCCID",
    pin_tries_command='AT+QPINC="SC"',
    sockets="quectel",
    connect_timeout=150.0,
    location="quectel",
)
