"""Hologram Nova with a u-blox SARA-U201: 2G and 3G.

With USB configuration 0 the first three CDC-ACM ports take AT commands, each made of two USB interfaces; in
configuration 2 only the first does [u-blox SARA-U2 AT commands manual UBX-13001820, ``+UUSBCONF``].
A socket's connect gets twice the 20 s that drivers of others wait for.
"""

from bridge.protocol.modems.profile import Profile

PROFILE = Profile(
    interface="cellular-nova-u201",
    label="Hologram Nova U201 (u-blox SARA-U201)",
    usb_ids=("1546:1102", "1546:1104"),
    at_interface=0,
    dial_interface=2,
    setup=("AT+USIMSTAT=3",),
    registration=("CREG", "CGREG"),
    firmware_command="ATI9",
    pin_tries_command="AT+UPINCNT",
    usb_mode_command="AT+UUSBCONF=0",
    reset_command="AT+CFUN=16",
    sockets="ublox",
    connect_timeout=40.0,
    location="ublox",
)
