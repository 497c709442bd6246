"""Hologram Nova R404 and R410 with a u-blox SARA-R4: LTE-M.

Linux's ``option`` driver gives interface 0, which is diagnostics, and 2, which takes AT commands and dials;
kernels before 5.2 must be told the id.
"""

from bridge.protocol.modems.profile import LTE_M_TECHNOLOGIES, Profile

PROFILE = Profile(
    interface="cellular-nova-r410",
    label="Hologram Nova R404/R410 (u-blox SARA-R4)",
    usb_ids=("05c6:90b2",),
    at_interface=2,
    dial_interface=2,
    driver_id="05c6 90b2",
    ppp_baud=115200,
    setup=("AT+USIMSTAT=3",),
    registration=("CEREG",),
    technologies=LTE_M_TECHNOLOGIES,
    firmware_command="ATI9",
    pin_tries_command="AT+UPINCNT",
    reset_command="AT+CFUN=15",
    sockets="ublox-r4",
    connect_timeout=122.0,
)
