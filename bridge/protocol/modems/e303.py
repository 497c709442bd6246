"""Huawei E303: a 3G stick."""

from bridge.protocol.modems.profile import Profile

PROFILE = Profile(
    interface="cellular-e303",
    label="Huawei E303",
    usb_ids=("12d1:1001",),
    at_interface=2,
    dial_interface=0,
    # The ports' numbers depend on the stick's mode; Huawei's interface protocol gives their roles.
    usb_roles={
        (0xFF, 1, 1): "dial",
        (0xFF, 1, 2): "at",
        (0xFF, 2, 1): "dial",
        (0xFF, 2, 2): "at",
    },
    registration=("CREG", "CGREG"),
    iccid_command="AT^ICCID?",
    pin_tries_command="AT^CPIN?",
)
